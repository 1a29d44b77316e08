-- What the turns door keeps: replies of turns that changed something, and replies that came too late.

create table turn_answers (
    key        bytea primary key check (length(key) = 32),
    body       bytea,
    expires_at timestamptz not null
);
comment on table turn_answers is 'Replies of turns that ran in a transaction, committed with what they changed: the same turn again gets the same reply';
comment on column turn_answers.key is 'SHA-256 of session, intent, query text, parameters, contexts and response id';
comment on column turn_answers.body is 'The reply, byte for byte; null only inside the transaction that is running the turn';
comment on column turn_answers.expires_at is 'From when the row may be deleted';
create index turn_answers_expires_at on turn_answers (expires_at);

create table late_replies (
    key        bytea primary key check (length(key) = 32),
    body       bytea not null,
    taken_by   bytea,
    expires_at timestamptz not null
);
comment on table late_replies is 'Replies that came after the user had heard the slow text; given when the session asks the same again';
comment on column late_replies.key is 'SHA-256 of session, intent and parameters';
comment on column late_replies.body is 'The reply, byte for byte';
comment on column late_replies.taken_by is 'Key of the turn that was given the reply, and is given it again when it is retried; null: nobody yet';
comment on column late_replies.expires_at is 'From when the reply is too old to be given';
create index late_replies_expires_at on late_replies (expires_at);
