-- Moves what versions up to 0.1 have made beside the bot's own tables to a schema of its own. Run once, in a transaction
-- that has made the schema.
do $$
declare
    old constant regnamespace := (select c.relnamespace from pg_class c where c.oid = '_sqlx_migrations'::regclass);
    thing record;
begin
    -- Indexes, constraints and sequences of identity columns go with their table. Segments of the log go one by one, those
    -- too that an interrupted sweep has left detached.
    for thing in
        select c.oid::regclass as name, case when c.relkind = 'S' then 'sequence' else 'table' end as kind
        from pg_class c
        where c.relnamespace = old and (
            c.relkind in ('r', 'p') and (
                c.relname in ('turn_answers', 'late_replies', 'event_log', 'event_outcomes', 'event_cursors',
                    'event_workers', 'event_leases', 'parked_events', 'dead_letters', 'event_audit', 'quarantined_events',
                    'event_joins', 'conversations', 'follows', 'facts', 'subscriptions', 'preferences', 'gotos', 'outbox',
                    'chat_messages', 'position_history', 'doubted_partitions', 'event_names', 'source_secrets',
                    'quarantined_requests', 'schema_compatibility')
                or c.relname ~ '^event_(log|outcomes)_[0-9]{8}$')
            or c.relkind = 'S' and c.relname in ('event_positions', 'chat_positions'))
        order by c.oid
    loop
        execute format('alter %s %s set schema rejoinder', thing.kind, thing.name);
    end loop;
    for thing in
        select p.oid::regprocedure as name
        from pg_proc p
        where p.pronamespace = old and p.proname in ('create_event_segment', 'append_events', 'advance_cursor',
            'share_partitions', 'current_history', 'keep_positions_ahead', 'doubt_partitions')
    loop
        execute format('alter function %s set schema rejoinder', thing.name);
    end loop;
end $$;

create table rejoinder._sqlx_migrations (like _sqlx_migrations including all);
