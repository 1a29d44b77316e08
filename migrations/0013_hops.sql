-- How many events led to one that a rule has emitted stands in a column; it was the end of its id. And what a time-out
-- did is told by its kind alone; versions before 8 told it by the end of its rule's name.

alter table event_log add column hops integer not null default 0;
comment on column event_log.hops is 'How many events led to it, one by one, by rules that emit; 0 for those that came from outside';

update event_outcomes
set outcome = jsonb_set(
    jsonb_set(outcome::jsonb, '{0,kind}', '"time_out"'),
    '{0,rule}', to_jsonb(regexp_replace(outcome->0->>'rule', ' \(time-out\)$', ''))
)::json
where outcome->0->>'kind' is null and outcome->0->>'rule' like '% (time-out)';

create function append_events(
    new_partition smallint[], new_source text[], new_event_id text[], new_event_type text[], new_entity_id text[],
    new_user_id text[], new_schema_version integer[], new_occurred_at timestamptz[], new_payload text[],
    new_traceparent text[], new_hops integer[], now timestamptz, known_since timestamptz
) returns table (is_new boolean, at_position bigint) language plpgsql
-- Else each call plans anew where few events come at a time, which costs more than to store them.
set plan_cache_mode = force_generic_plan
set search_path = rejoinder, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtext('rejoinder event log'));
    perform keep_positions_ahead();
    -- A statement of its own, and so a snapshot of its own, taken with the lock held.
    return query
    with new as materialized (
        select n.*, old.position as old_position,
            case when old.position is null then nextval('event_positions') end as new_position
        from unnest(new_partition, new_source, new_event_id, new_event_type, new_entity_id, new_user_id,
            new_schema_version, new_occurred_at, new_payload, new_traceparent, new_hops) with ordinality
            as n (partition, source, event_id, event_type, entity_id, user_id, schema_version, occurred_at, payload,
                traceparent, hops, at)
        left join lateral (
            select l.position from event_log l
            where l.event_id = n.event_id and l.source = n.source and l.received_at >= known_since
            limit 1
        ) old on true
    ),
    stored as (
        insert into event_log (position, partition, source, event_id, event_type, entity_id, user_id, schema_version,
            occurred_at, received_at, payload, traceparent, hops)
        select n.new_position, n.partition, n.source, n.event_id, n.event_type, n.entity_id, n.user_id,
            n.schema_version, n.occurred_at, now, n.payload::json, n.traceparent, n.hops
        from new n where n.new_position is not null
    )
    select n.new_position is not null, coalesce(n.old_position, n.new_position) from new n order by n.at;
end $$;
comment on function append_events(smallint[], text[], text[], text[], text[], text[], integer[], timestamptz[], text[],
    text[], integer[], timestamptz, timestamptz) is 'Appends events to the log; the only way in';

create or replace function append_events(
    new_partition smallint[], new_source text[], new_event_id text[], new_event_type text[], new_entity_id text[],
    new_user_id text[], new_schema_version integer[], new_occurred_at timestamptz[], new_payload text[],
    new_traceparent text[], now timestamptz, known_since timestamptz
) returns table (is_new boolean, at_position bigint) language plpgsql
set search_path = rejoinder, pg_temp as $$
begin
    return query select * from append_events(new_partition, new_source, new_event_id, new_event_type, new_entity_id,
        new_user_id, new_schema_version, new_occurred_at, new_payload, new_traceparent,
        array_fill(0, array[cardinality(new_partition)]), now, known_since);
end $$;
comment on function append_events(smallint[], text[], text[], text[], text[], text[], integer[], timestamptz[], text[],
    text[], timestamptz, timestamptz) is 'The same for programs that do not know hops';
