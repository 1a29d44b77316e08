-- What sources need besides their files: secrets that are made here, and requests that could not be read.

create table source_secrets (
    source  text primary key,
    secret  text not null,
    made_at timestamptz not null default now()
);
comment on table source_secrets is 'Secrets that were made for sources whose file says so and for which no variable is set: one for all replicas';
comment on column source_secrets.source is 'Name of the source file';
comment on column source_secrets.secret is 'One a line, all of them live; the first one is the current one';
comment on column source_secrets.made_at is 'When the first one was made, by the database''s clock';

create table quarantined_requests (
    id          uuid primary key,
    source      text not null,
    digest      bytea not null,
    headers     json not null,
    body        bytea not null,
    violations  json not null,
    received_at timestamptz not null,
    expires_at  timestamptz not null
);
comment on table quarantined_requests is 'Requests that were verified and hold what is no event as the source''s file reads it: kept for a while, to be read again once the file is right';
comment on column quarantined_requests.id is 'By which it is released';
comment on column quarantined_requests.source is 'Who sent it';
comment on column quarantined_requests.digest is 'Of the body: the same request is kept once';
comment on column quarantined_requests.headers is 'An array of names and values, without those that hold credentials or signatures';
comment on column quarantined_requests.body is 'As it was sent, inflated';
comment on column quarantined_requests.violations is 'What is wrong with its events, as the sender was told';
comment on column quarantined_requests.received_at is 'When it came; what has no time of its own happened then';
comment on column quarantined_requests.expires_at is 'From when it may be deleted';
create unique index quarantined_requests_once on quarantined_requests (source, digest);
create index quarantined_requests_expires_at on quarantined_requests (expires_at);
create index quarantined_requests_received_at on quarantined_requests (received_at);
