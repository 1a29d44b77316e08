-- What is remembered of conversations and users, and the messages that go out.

create table conversations (
    session text primary key,
    user_id text not null,
    seen_at timestamptz not null
);
comment on table conversations is 'Whose conversation a session is';
comment on column conversations.session is 'Full name of the session';
comment on column conversations.user_id is 'The user; the session''s own name while nobody is identified';
comment on column conversations.seen_at is 'When the user was last identified, or something was kept for the session';
create index conversations_user_id on conversations (user_id);

create table follows (
    entity_id   text not null,
    user_id     text not null,
    followed_at timestamptz not null,
    primary key (entity_id, user_id)
);
comment on table follows is 'Which users an entity''s events concern';
comment on column follows.entity_id is 'Such as an order number';
comment on column follows.user_id is 'As in conversations';
comment on column follows.followed_at is 'Since when';
create index follows_user_id on follows (user_id);

create table facts (
    scope    text not null check (scope in ('entity', 'user', 'session')),
    subject  text not null,
    name     text not null,
    value    json not null,
    position bigint,
    set_at   timestamptz not null,
    primary key (scope, subject, name)
);
comment on table facts is 'The conversation''s memory: what is known about an entity, a user or a session';
comment on column facts.scope is 'What the subject is: entity, user or session';
comment on column facts.subject is 'Entity id, user id or full name of the session';
comment on column facts.name is 'Such as status';
comment on column facts.value is 'What is known';
comment on column facts.position is 'The event that set it, in event_log; null: a turn did';
comment on column facts.set_at is 'When it was set';

create table subscriptions (
    user_id text not null,
    topic   text not null,
    opted_in boolean not null,
    set_at  timestamptz not null,
    primary key (user_id, topic)
);
comment on table subscriptions is 'Which topics a user wants to hear of; no row: has not said so, and does not';
comment on column subscriptions.user_id is 'As in conversations';
comment on column subscriptions.topic is 'Such as orders';
comment on column subscriptions.opted_in is 'What the user said last';
comment on column subscriptions.set_at is 'When the user said it';

create table preferences (
    user_id        text primary key,
    time_zone      text not null default 'UTC',
    quiet_from     time,
    quiet_until    time,
    per_hour       integer check (per_hour > 0),
    digest_minutes integer check (digest_minutes > 0),
    check ((quiet_from is null) = (quiet_until is null))
);
comment on table preferences is 'When and how often a user wants to be notified';
comment on column preferences.user_id is 'As in conversations';
comment on column preferences.time_zone is 'IANA name, such as Europe/Berlin';
comment on column preferences.quiet_from is 'From when nothing is sent, in the user''s time; null: no quiet hours';
comment on column preferences.quiet_until is 'Until when; before quiet_from: the next morning';
comment on column preferences.per_hour is 'At most so many messages in any hour; null: as the settings say';
comment on column preferences.digest_minutes is 'Messages are gathered for so long and sent as one; null: each at once';

create table gotos (
    id         uuid primary key,
    session    text not null,
    kind       text not null check (kind in ('context', 'event')),
    name       text not null,
    parameters json not null,
    position   bigint not null,
    taken_by   bytea,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
comment on table gotos is 'Where a conversation goes at its next turn';
comment on column gotos.id is 'Made of the event, the rule and the action, so that each is there once';
comment on column gotos.session is 'Full name of the session';
comment on column gotos.kind is 'context: an active context; event: a follow-up event instead of the reply';
comment on column gotos.name is 'Of the context or the event';
comment on column gotos.parameters is 'An object';
comment on column gotos.position is 'The event that led here, in event_log';
comment on column gotos.taken_by is 'Key of the turn that has taken it, and takes it again when it is retried; null: none yet';
comment on column gotos.created_at is 'When it was made';
comment on column gotos.expires_at is 'From when it is too old';
create index gotos_session on gotos (session);

create table outbox (
    id          uuid primary key,
    position    bigint not null,
    rule        text not null,
    channel     text not null,
    user_id     text,
    session     text,
    topic       text,
    body        json not null,
    traceparent text,
    state       text not null check (state in ('pending', 'held', 'sent', 'suppressed', 'failed')),
    reason      text,
    attempts    integer not null default 0,
    due_at      timestamptz not null,
    created_at  timestamptz not null,
    done_at     timestamptz
);
comment on table outbox is 'What reactions send, and what became of it; written in the transaction that applies the event';
comment on column outbox.id is 'Made of the event, the rule, the action and the recipient: the receiver sees the same id each time it is sent';
comment on column outbox.position is 'The event that led to it, in event_log';
comment on column outbox.rule is 'The rule that led to it';
comment on column outbox.channel is 'chat: the open chat window; call: an HTTP call of a rule; else the name of a file in events/channels';
comment on column outbox.user_id is 'Whom it is for; null for a call';
comment on column outbox.session is 'Which conversation it is for; null: not for one';
comment on column outbox.topic is 'What the user must have opted in to; null for a call';
comment on column outbox.body is 'The text, or the request of a call';
comment on column outbox.traceparent is 'Trace context of the event';
comment on column outbox.state is 'pending: is sent when due; held: waits for quiet hours to end or a digest; sent; suppressed: is not sent; failed: was tried too often';
comment on column outbox.reason is 'Why it is held, suppressed or failed';
comment on column outbox.attempts is 'How often it was tried';
comment on column outbox.due_at is 'From when it is sent, or tried again';
comment on column outbox.created_at is 'When the event was applied';
comment on column outbox.done_at is 'When it was sent, suppressed or given up';
create index outbox_due_at on outbox (due_at) where state in ('pending', 'held');
create index outbox_created_at on outbox (created_at) where state in ('sent', 'suppressed', 'failed');
create index outbox_position on outbox (position);
create index outbox_user_id on outbox (user_id, created_at);

create sequence chat_positions;
comment on sequence chat_positions is 'Positions of chat_messages; only drawn from under a lock that is held until the commit';

create table chat_messages (
    position bigint primary key,
    id       uuid not null unique,
    session  text not null,
    topic    text,
    text     text not null,
    event_id text not null,
    sent_at  timestamptz not null
);
comment on table chat_messages is 'What was said in a conversation without being asked: the stream of the chat window';
comment on column chat_messages.position is 'Order of commit: the stream''s Last-Event-ID';
comment on column chat_messages.id is 'As in outbox';
comment on column chat_messages.session is 'Full name of the session';
comment on column chat_messages.topic is 'Topic of the message';
comment on column chat_messages.text is 'What the user reads';
comment on column chat_messages.event_id is 'The sender''s id of the event that led to it';
comment on column chat_messages.sent_at is 'When';
create index chat_messages_session on chat_messages (session, position);

alter table late_replies add column session text;
comment on column late_replies.session is 'Full name of the session, by which it is erased';
alter table turn_answers add column session text;
comment on column turn_answers.session is 'Full name of the session, by which it is erased';
create index late_replies_session on late_replies (session);
create index turn_answers_session on turn_answers (session);
