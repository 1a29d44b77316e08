-- What is due in the outbox is found by its kind, and what a user was told of late without reading all of theirs.

-- A backlog of calls is not read to find what is due for a chat window, nor the other way about.
drop index outbox_due_at;
create index outbox_chat_due on outbox (due_at, position, id) where channel = 'chat' and state in ('pending', 'held');
create index outbox_requests_due on outbox (due_at) where channel <> 'chat' and state in ('pending', 'held');
drop index outbox_user_id;
create index outbox_user_id on outbox (user_id, state, created_at);
create index outbox_digests on outbox (user_id, due_at) where state = 'held' and reason = 'digest';

create table event_names (
    by_position_until timestamptz not null
);
comment on table event_names is 'At most one row, for a database that had events before their names were their own. The ids of all that comes of an event (messages, calls, gotos, emitted events) are made of its source and its id';
comment on column event_names.by_position_until is 'Of an event that was stored before, they are made of its position, as they were then: applied again, it is known by them what was done. A day after this table came, while replicas of both versions may have run';
insert into event_names select now() + interval '1 day' where exists (select from event_log);

comment on column outbox.id is 'Made of the event (source and id), the rule, the action and the recipient: the receiver sees the same id each time it is sent';
comment on column gotos.id is 'Made of the event (source and id), the rule and the action, so that each is there once';
comment on column event_outcomes.outcome is 'An array with an object for each rule that listens: its name, whether it matched, why not, and its actions; kind time_out: what the rule of a join did when its time was over; what is longer than 512 bytes in an action stands there as its length and the beginning of its SHA-256';
