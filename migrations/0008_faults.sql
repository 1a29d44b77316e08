-- Rules that fail for most of their events, attempts that ended with their process, and facts that are written late.

alter table parked_events add column rule text, add column tried_by uuid,
    add column tried_with integer;
comment on column parked_events.attempts is 'How often it was tried; 0: it waits behind another, or for a rule that is held';
comment on column parked_events.retry_at is 'From when it may be tried; infinity: when the one before it is done or, where rule is set, when that is mended';
comment on column parked_events.rule is 'The rule that failed at the last attempt; with retry_at infinity it is held, because it fails for most of its events';
comment on column parked_events.tried_by is 'The worker that has begun to try it, committed before it does; null once the attempt has ended. Another one that finds it knows that the process ended during it';
comment on column parked_events.tried_with is 'How many events were under way in the attempt that tried_by began, this one included; 1: alone, so that the end of the process counts as an attempt that failed; null: it may not have been under way';
create index parked_events_tried_by on parked_events (tried_by) where tried_by is not null;

create table doubted_partitions (
    partition smallint primary key check (partition between 0 and 31)
);
comment on table doubted_partitions is 'Partitions whose worker ended without giving them up: who takes one over tries what may have been under way with care';
comment on column doubted_partitions.partition is 'Of event_log';

create function doubt_partitions() returns trigger language plpgsql as $$
begin
    insert into doubted_partitions select l.partition from event_leases l where l.worker = old.id on conflict do nothing;
    return old;
end $$;
comment on function doubt_partitions is 'Notes the partitions of a worker that is deleted because it was silent';
create trigger doubt_partitions before delete on event_workers for each row
    when (old.seen_at < clock_timestamp() - interval '5 seconds') execute function doubt_partitions();

comment on column event_outcomes.outcome is 'An array with an object for each rule that listens: its name, whether it matched, why not, and its actions; kind time_out: what the rule of a join did when its time was over';
comment on column facts.position is 'The latest event, in event_log, that it takes into account; null: a turn set it';
