-- What the demo bot answers from: a small bank, and a small shop.

create table customers (
    id       text primary key check (id <> ''),
    name     text not null check (name <> ''),
    pin_salt bytea not null,
    pin_hash bytea not null check (length(pin_hash) = 32)
);
comment on table customers is 'People who may ask about what is theirs';
comment on column customers.id is 'Customer number, as the user says it';
comment on column customers.name is 'How the bot addresses the customer';
comment on column customers.pin_salt is 'Random bytes that are hashed before the PIN';
comment on column customers.pin_hash is 'HMAC-SHA256 of the PIN, keyed with the salt';

create table pin_tries (
    customer_id  text primary key check (length(customer_id) between 1 and 64),
    misses       integer not null check (misses >= 0),
    last_try_at  timestamptz not null,
    locked_until timestamptz
);
comment on table pin_tries is 'Wrong PINs of late, by the customer number that was claimed: also for numbers nobody has, so that a lock does not tell which exist';
comment on column pin_tries.customer_id is 'Customer number, as the user said it';
comment on column pin_tries.misses is 'Wrong PINs since the last right one, the last lock, or a day without a try';
comment on column pin_tries.last_try_at is 'When a PIN was last tried; a day later the row may be deleted';
comment on column pin_tries.locked_until is 'Until when no PIN is tried; null: never locked';
create index pin_tries_last_try_at on pin_tries (last_try_at);

create table accounts (
    customer_id text not null references customers,
    kind        text not null check (kind in ('checking', 'savings', 'credit')),
    balance     numeric(14, 2) not null,
    currency    char(3) not null default 'USD',
    updated_at  timestamptz not null,
    primary key (customer_id, kind)
);
comment on table accounts is 'Accounts of customers, at most one of a kind each';
comment on column accounts.customer_id is 'Whose account it is';
comment on column accounts.kind is 'checking, savings or credit';
comment on column accounts.balance is 'Booked balance, in the currency''s main unit';
comment on column accounts.currency is 'ISO 4217 code';
comment on column accounts.updated_at is 'When the balance last changed';

create table transactions (
    id          bigint generated always as identity primary key,
    customer_id text not null,
    kind        text not null,
    booked_at   timestamptz not null,
    payee       text not null,
    amount      numeric(14, 2) not null,
    foreign key (customer_id, kind) references accounts (customer_id, kind)
);
comment on table transactions is 'Booked transactions of accounts';
comment on column transactions.id is 'Order of entry';
comment on column transactions.customer_id is 'Whose account it is';
comment on column transactions.kind is 'Which of the customer''s accounts';
comment on column transactions.booked_at is 'When it was booked';
comment on column transactions.payee is 'Who was paid, or who paid';
comment on column transactions.amount is 'In the account''s currency; below zero: money that went out';
create index transactions_latest on transactions (customer_id, kind, booked_at desc, id desc);

create table orders (
    id              text primary key check (id <> ''),
    customer_id     text references customers,
    status          text not null check (status in ('placed', 'confirmed', 'shipped', 'delivered', 'cancelled')),
    tracking_number text,
    arrives_on      date
);
comment on table orders is 'Orders of the shop';
comment on column orders.id is 'Order number, as the user says it';
comment on column orders.customer_id is 'Who ordered; null: a guest';
comment on column orders.status is 'placed, confirmed, shipped, delivered or cancelled';
comment on column orders.tracking_number is 'The carrier''s number, from when it is shipped';
comment on column orders.arrives_on is 'The day it should arrive, or did; null: not known yet';

create table stock (
    product  text not null check (product <> ''),
    store    text not null check (store <> ''),
    quantity integer not null check (quantity >= 0),
    primary key (product, store)
);
comment on table stock is 'How much of a product each store has';
comment on column stock.product is 'Name of the product, lower case';
comment on column stock.store is 'Name of the store, lower case';
comment on column stock.quantity is 'Pieces on the shelf';

create table appointments (
    starts_at timestamptz primary key,
    customer  text not null check (customer <> ''),
    session   text not null,
    booked_at timestamptz not null
);
comment on table appointments is 'Slots that are booked: no slot can be booked twice';
comment on column appointments.starts_at is 'When the slot begins; it lasts half an hour';
comment on column appointments.customer is 'Who has booked it';
comment on column appointments.session is 'The conversation in which it was booked';
comment on column appointments.booked_at is 'When it was booked';
