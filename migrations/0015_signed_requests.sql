-- Signed requests are admitted once, by whichever replica.

create table signed_requests (
    signed  bytea primary key,
    seen_at timestamptz not null
);
comment on table signed_requests is 'Signed requests that were admitted in the last minutes: each is admitted once';
comment on column signed_requests.signed is 'SHA-256 of what was signed: the time and the body';
comment on column signed_requests.seen_at is 'When it was admitted; ten minutes later its signature counts no longer';
create index signed_requests_seen_at on signed_requests (seen_at);
