-- What keeps idle hours cheap: the heartbeat in one statement that does not wait for the disk; and positions that no
-- failover gives out anew.

-- Says that a worker lives, and takes or gives up partitions so that all workers have as many. Returns those that are
-- its own, as bits.
create function share_partitions(in_worker uuid) returns integer language plpgsql as $$
declare
    fair integer;
begin
    -- After a crash it is said again within a second.
    perform set_config('synchronous_commit', 'off', true);
    -- One worker at a time shares out; what is seen below is what the one before left.
    perform pg_advisory_xact_lock(hashtext('rejoinder event leases'));
    delete from event_workers where seen_at < clock_timestamp() - interval '5 seconds' and id <> in_worker;
    insert into event_workers (id, seen_at) values (in_worker, clock_timestamp())
        on conflict (id) do update set seen_at = excluded.seen_at;
    select ceil(32.0 / count(*)) into fair from event_workers;
    delete from event_leases where partition in
        (select l.partition from event_leases l where l.worker = in_worker order by l.partition offset fair);
    insert into event_leases (partition, worker)
        select free.partition, in_worker from generate_series(0, 31) free (partition)
        where not exists (select from event_leases l where l.partition = free.partition)
        order by free.partition
        limit greatest(fair - (select count(*) from event_leases l where l.worker = in_worker), 0);
    return (select coalesce(bit_or(1 << l.partition), 0) from event_leases l where l.worker = in_worker);
end $$;
comment on function share_partitions is 'The heartbeat of a worker; by the database''s clock';

create table position_history (
    is_only           boolean primary key default true check (is_only),
    system_identifier bigint not null,
    timeline          bigint not null,
    skipped_from      bigint not null default 0,
    skipped_to        bigint not null default 0
);
comment on table position_history is 'Which history of the database the positions belong to; one row. Another one begins when a standby is promoted or a backup is restored: what came after its beginning in the old one is gone, and readers may have seen positions of it';
comment on column position_history.is_only is 'There is one row';
comment on column position_history.system_identifier is 'Of the cluster, as initdb made it';
comment on column position_history.timeline is 'Of the write-ahead log';
comment on column position_history.skipped_from is 'The last event position that can have been given out when this history began; 0: it is the first';
comment on column position_history.skipped_to is 'No event has a position between the two';

-- What this server's history is.
create function current_history(out system_identifier bigint, out timeline bigint) stable language sql as $$
    -- The control file would tell the timeline only after the first checkpoint.
    select s.system_identifier, ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint
    from pg_control_system() s
$$;
comment on function current_history is 'What position_history holds while the history goes on';

insert into position_history (system_identifier, timeline) select c.system_identifier, c.timeline from current_history() c;

-- Moves the positions on when another history has begun, by more than can have been given out in the old one. To be called
-- before a position is drawn, in the same transaction.
create function keep_positions_ahead() returns void language plpgsql as $$
declare
    skip constant bigint := 1000000000;
    last_event bigint;
    last_message bigint;
begin
    -- Of two that find it out, the second waits, and finds it done.
    update position_history h set system_identifier = c.system_identifier, timeline = c.timeline
        from current_history() c
        where (h.system_identifier, h.timeline) <> (c.system_identifier, c.timeline);
    if not found then
        return;
    end if;
    select last_value into last_event from event_positions;
    select last_value into last_message from chat_positions;
    -- Never less than `skip`, and a number that a person can read.
    update position_history set skipped_from = last_event, skipped_to = (last_event / skip + 2) * skip;
    perform setval('event_positions', (last_event / skip + 2) * skip);
    perform setval('chat_positions', (last_message / skip + 2) * skip);
    raise log 'rejoinder: another history of the database has begun; positions go on after %', (last_event / skip + 2) * skip;
end $$;
comment on function keep_positions_ahead is 'Keeps a position from being given out twice after a failover or a restore';

create or replace function append_events(
    new_partition smallint[], new_source text[], new_event_id text[], new_event_type text[], new_entity_id text[],
    new_user_id text[], new_schema_version integer[], new_occurred_at timestamptz[], new_payload text[],
    new_traceparent text[], now timestamptz, known_since timestamptz
) returns table (is_new boolean, at_position bigint) language plpgsql
-- Else each call plans anew where few events come at a time, which costs more than to store them.
set plan_cache_mode = force_generic_plan as $$
begin
    perform pg_advisory_xact_lock(hashtext('rejoinder event log'));
    perform keep_positions_ahead();
    -- A statement of its own, and so a snapshot of its own, taken with the lock held.
    return query
    with new as materialized (
        select n.*, old.position as old_position,
            case when old.position is null then nextval('event_positions') end as new_position
        from unnest(new_partition, new_source, new_event_id, new_event_type, new_entity_id, new_user_id,
            new_schema_version, new_occurred_at, new_payload, new_traceparent) with ordinality
            as n (partition, source, event_id, event_type, entity_id, user_id, schema_version, occurred_at, payload,
                traceparent, at)
        left join lateral (
            select l.position from event_log l
            where l.event_id = n.event_id and l.source = n.source and l.received_at >= known_since
            limit 1
        ) old on true
    ),
    stored as (
        insert into event_log
        select n.new_position, n.partition, n.source, n.event_id, n.event_type, n.entity_id, n.user_id,
            n.schema_version, n.occurred_at, now, n.payload::json, n.traceparent
        from new n where n.new_position is not null
    )
    select n.new_position is not null, coalesce(n.old_position, n.new_position) from new n order by n.at;
end $$;
