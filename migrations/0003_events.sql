-- What the events door keeps: the log of events, how far each partition is applied, and what could not be.

create table event_log (
    position       bigint not null,
    partition      smallint not null check (partition between 0 and 31),
    source         text not null,
    event_id       text collate "C" not null,
    event_type     text not null,
    entity_id      text not null,
    user_id        text,
    schema_version integer not null check (schema_version > 0),
    occurred_at    timestamptz not null,
    received_at    timestamptz not null,
    payload        json,
    traceparent    text
) partition by range (received_at);
comment on table event_log is 'Every event that was acknowledged, in the order of its commit; only appended to, by append_events(); split by week, so that old ones are dropped, not deleted';
comment on column event_log.position is 'Order of commit: given out under a lock that is held until the commit, so whoever has seen a position has seen all before it';
comment on column event_log.partition is 'Which of the 32 partitions the entity belongs to: events of one entity are applied in order, by one worker at a time';
comment on column event_log.source is 'Name of the source file that let it in; rejoinder: emitted by a reaction';
comment on column event_log.event_id is 'The sender''s id; the same id from the same source is one event';
comment on column event_log.event_type is 'Such as order.shipped';
comment on column event_log.entity_id is 'What it is about, such as an order number';
comment on column event_log.user_id is 'Whom it concerns, where the source says so';
comment on column event_log.schema_version is 'Version of its type''s schema that the payload satisfies';
comment on column event_log.occurred_at is 'When it happened, as the sender says';
comment on column event_log.received_at is 'When it was stored, by the service''s clock';
comment on column event_log.payload is 'What the sender says about it; null: erased because its user was forgotten';
comment on column event_log.traceparent is 'The sender''s W3C trace context';
create index event_log_partition on event_log (partition, position);
create index event_log_event_id on event_log using hash (event_id);
create index event_log_user_id on event_log (user_id) where user_id is not null;

create sequence event_positions;
comment on sequence event_positions is 'Positions of the log; only drawn from under the lock in append_events()';

create table event_outcomes (
    position    bigint not null,
    received_at timestamptz not null,
    applied_at  timestamptz not null,
    outcome     json not null
) partition by range (received_at);
comment on table event_outcomes is 'What came of each event that a rule listens to: which rules matched, and what they did';
comment on column event_outcomes.position is 'Of the event, in event_log';
comment on column event_outcomes.received_at is 'As in event_log, so that both are dropped together';
comment on column event_outcomes.applied_at is 'When it was applied; an event that is replayed has several';
comment on column event_outcomes.outcome is 'An array with an object for each rule that listens: its name, whether it matched, why not, and its actions';
create index event_outcomes_position on event_outcomes (position);

-- Makes room for a week (Monday, UTC). Attaching takes no lock that readers or writers wait for.
create function create_event_segment(week date) returns void language plpgsql as $$
declare
    suffix text := to_char(week, 'YYYYMMDD');
    parent text;
begin
    foreach parent in array array['event_log', 'event_outcomes'] loop
        if to_regclass(parent || '_' || suffix) is null then
            perform pg_advisory_xact_lock(hashtext('rejoinder event segments'));
            -- Read from the catalog with a snapshot of its own: to_regclass would repeat what it has cached.
            if not exists (
                select from pg_class c where c.relname = parent || '_' || suffix
                    and c.relnamespace = (select p.relnamespace from pg_class p where p.oid = parent::regclass)
            ) then
                execute format('create table %I (like %I including all)', parent || '_' || suffix, parent);
                execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                    parent, parent || '_' || suffix,
                    week::timestamp at time zone 'UTC', (week + 7)::timestamp at time zone 'UTC');
            end if;
        end if;
    end loop;
end $$;
comment on function create_event_segment is 'Makes the segments of event_log and event_outcomes for the week that begins on this Monday, if they are missing';

-- Appends events and returns a row for each, in order: whether it is new, and its position. No event may stand twice in
-- one call.
--
-- The lock is held until the commit. So positions become visible in their order, and the look for duplicates sees every
-- event that was stored before.
create function append_events(
    new_partition smallint[], new_source text[], new_event_id text[], new_event_type text[], new_entity_id text[],
    new_user_id text[], new_schema_version integer[], new_occurred_at timestamptz[], new_payload text[],
    new_traceparent text[], now timestamptz, known_since timestamptz
) returns table (is_new boolean, at_position bigint) language plpgsql
-- Else each call plans anew where few events come at a time, which costs more than to store them.
set plan_cache_mode = force_generic_plan as $$
begin
    perform pg_advisory_xact_lock(hashtext('rejoinder event log'));
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
comment on function append_events is 'Appends events to the log; the only way in';

create table event_cursors (
    partition smallint not null,
    seq       bigint not null,
    position  bigint not null,
    worker    uuid not null,
    primary key (partition, seq)
);
comment on table event_cursors is 'How far each partition is applied: the row with the highest seq. Each transaction that applies anything inserts the next, by advance_cursor(), so of two workers that think a partition is theirs only one commits. Only appended to, so that a long transaction somewhere cannot slow it; old rows are deleted later';
comment on column event_cursors.partition is 'Of event_log';
comment on column event_cursors.seq is 'One more than the row before: the fencing token';
comment on column event_cursors.position is 'All events up to here are applied, parked or dead';
comment on column event_cursors.worker is 'Who applied them';

-- Says how far a partition is applied, in the transaction that applies it. False: another worker has been there since.
create function advance_cursor(in_partition smallint, new_seq bigint, new_position bigint, by_worker uuid)
    returns boolean language plpgsql as $$
begin
    -- Held until the commit: of two workers that are in the partition at once, one is sent away.
    if not pg_try_advisory_xact_lock(hashtext('rejoinder event partition'), in_partition) then
        return false;
    end if;
    -- A statement of its own, and so a snapshot of its own, taken with the lock held.
    insert into event_cursors (partition, seq, position, worker)
    select in_partition, new_seq, new_position, by_worker
    where new_seq = 1 + coalesce(
        (select c.seq from event_cursors c where c.partition = in_partition order by c.seq desc limit 1), 0);
    return found;
end $$;
comment on function advance_cursor is 'Inserts the next row of event_cursors, if this worker has seen the last one';

create table event_workers (
    id      uuid primary key,
    seen_at timestamptz not null
);
comment on table event_workers is 'Workers that share the partitions';
comment on column event_workers.id is 'Made anew at each start';
comment on column event_workers.seen_at is 'When it last said that it lives, by the database''s clock; after five seconds of silence its leases are free';

create table event_leases (
    partition smallint primary key check (partition between 0 and 31),
    worker    uuid not null references event_workers on delete cascade
);
comment on table event_leases is 'Which worker applies which partition, for as long as it says that it lives. It saves work; what keeps two from applying one event is event_cursors';
comment on column event_leases.partition is 'Of event_log';
comment on column event_leases.worker is 'Whose it is';
create index event_leases_worker on event_leases (worker);

create table parked_events (
    partition   smallint not null,
    entity_id   text not null,
    position    bigint not null,
    received_at timestamptz not null,
    attempts    integer not null check (attempts >= 0),
    retry_at    timestamptz not null,
    error       text,
    primary key (partition, entity_id, position)
);
comment on table parked_events is 'Events that wait: one that failed, to be tried again, and those of the same entity behind it';
comment on column parked_events.partition is 'Of event_log';
comment on column parked_events.entity_id is 'The entity that is held up; others of the partition go on';
comment on column parked_events.position is 'Of the event, in event_log; the lowest of an entity is tried next';
comment on column parked_events.received_at is 'As in event_log';
comment on column parked_events.attempts is 'How often it was tried; 0: it waits behind another';
comment on column parked_events.retry_at is 'From when it may be tried; infinity: when the one before it is done';
comment on column parked_events.error is 'Why the last attempt failed';
create index parked_events_retry_at on parked_events (partition, retry_at);

create table dead_letters (
    position    bigint primary key,
    partition   smallint not null,
    entity_id   text not null,
    received_at timestamptz not null,
    source      text not null,
    event_id    text not null,
    event_type  text not null,
    payload     json,
    attempts    integer not null,
    error       text not null,
    died_at     timestamptz not null
);
comment on table dead_letters is 'Events that could not be applied, however often they were tried, until somebody redrives or discards them';
comment on column dead_letters.position is 'Of the event, in event_log';
comment on column dead_letters.partition is 'Of event_log';
comment on column dead_letters.entity_id is 'What the event is about';
comment on column dead_letters.received_at is 'As in event_log';
comment on column dead_letters.source is 'Who sent it';
comment on column dead_letters.event_id is 'The sender''s id';
comment on column dead_letters.event_type is 'Such as order.shipped';
comment on column dead_letters.payload is 'A copy, for the log''s is dropped when its time is over; null: erased';
comment on column dead_letters.attempts is 'How often it was tried';
comment on column dead_letters.error is 'Why the last attempt failed';
comment on column dead_letters.died_at is 'When it was given up';

create table event_audit (
    id       bigint generated always as identity primary key,
    at       timestamptz not null,
    actor    text not null,
    action   text not null,
    position bigint,
    detail   text not null
);
comment on table event_audit is 'What was done to events by hand or at the end of their tries; never changed';
comment on column event_audit.id is 'Order of entry';
comment on column event_audit.at is 'When';
comment on column event_audit.actor is 'Who; rejoinder: the service itself';
comment on column event_audit.action is 'dead, redrive, discard, replay, release, forget or failed';
comment on column event_audit.position is 'Of the event, where it is about one';
comment on column event_audit.detail is 'The error, the reason that was given, or what was reached';
create index event_audit_position on event_audit (position);

create table quarantined_events (
    id          uuid primary key,
    source      text not null,
    event_id    text not null,
    event_type  text not null,
    envelope    json not null,
    violations  json not null,
    received_at timestamptz not null,
    expires_at  timestamptz not null
);
comment on table quarantined_events is 'Events that no schema knows or that theirs refuses: kept for a while, to be released once it does';
comment on column quarantined_events.id is 'By which it is released';
comment on column quarantined_events.source is 'Who sent it';
comment on column quarantined_events.event_id is 'The sender''s id';
comment on column quarantined_events.event_type is 'What the sender calls it';
comment on column quarantined_events.envelope is 'The whole event, in the form of our own envelope';
comment on column quarantined_events.violations is 'What is wrong with it, as the sender was told';
comment on column quarantined_events.received_at is 'When it came';
comment on column quarantined_events.expires_at is 'From when it may be deleted';
create unique index quarantined_events_once on quarantined_events (source, event_id);
create index quarantined_events_expires_at on quarantined_events (expires_at);

create table event_joins (
    rule        text not null,
    key         text not null,
    partition   smallint not null,
    seen        json not null,
    state       text not null check (state in ('open', 'done', 'timed_out')),
    deadline    timestamptz not null,
    attempts    integer not null default 0,
    changed_at  timestamptz not null,
    primary key (rule, key)
);
comment on table event_joins is 'Rules that wait for several events: what has come so far';
comment on column event_joins.rule is 'Name of the rule';
comment on column event_joins.key is 'What the events have in common, such as an order number';
comment on column event_joins.partition is 'Of the event that opened it: the worker of that partition sees to its time-out';
comment on column event_joins.seen is 'By event type: the position, entity, time and payload of the first that came';
comment on column event_joins.state is 'open: waits; done: all came and the rule has acted; timed_out: they did not, and the time-out has acted';
comment on column event_joins.deadline is 'When the time is over';
comment on column event_joins.attempts is 'How often the time-out has failed; it is tried five times';
comment on column event_joins.changed_at is 'When the state last changed; one that is not open is deleted a month later';
create index event_joins_deadline on event_joins (partition, deadline) where state = 'open';
