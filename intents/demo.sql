-- Demo data, with fixed dates. The PIN of customer 12345 is 1234, that of 67890 is 4321.
insert into customers (id, name, pin_salt, pin_hash) values
    ('12345', 'Ada', '\x8f1d2c3b4a5968778695a4b3c2d1e0f0', '\x21277a213313bc723fb9ad5d68e1f896e38964108fc06f072de30242edd4092f'),
    ('67890', 'Grace', '\x0a1b2c3d4e5f60718293a4b5c6d7e8f9', '\xd31f024e784e2adb4571ad4a8d5c4005ce0de963eed9317579d688a6083cdb33');

insert into accounts (customer_id, kind, balance, currency, updated_at) values
    ('12345', 'checking', 3247.82, 'USD', '2025-06-23T16:05:00Z'),
    ('12345', 'savings', 12050.00, 'USD', '2025-06-01T00:00:00Z'),
    ('12345', 'credit', -1204.37, 'USD', '2025-06-22T09:12:00Z'),
    ('67890', 'checking', 95.10, 'EUR', '2025-06-19T08:30:00Z');

insert into transactions (customer_id, kind, booked_at, payee, amount) values
    ('12345', 'checking', '2025-06-23T16:05:00Z', 'Corner Bakery', -8.40),
    ('12345', 'checking', '2025-06-22T18:40:00Z', 'City Cinema', -27.00),
    ('12345', 'checking', '2025-06-21T10:15:00Z', 'Green Grocer', -64.18),
    ('12345', 'checking', '2025-06-20T07:50:00Z', 'Metro Transit', -49.00),
    ('12345', 'checking', '2025-06-18T12:00:00Z', 'Analytical Engines Inc.', 2850.00),
    ('12345', 'checking', '2025-06-17T19:22:00Z', 'Trattoria Roma', -53.60),
    ('12345', 'checking', '2025-06-16T09:05:00Z', 'North Power Co.', -88.15),
    ('12345', 'checking', '2025-06-14T15:30:00Z', 'Book Nook', -31.95),
    ('12345', 'checking', '2025-06-13T11:11:00Z', 'Green Grocer', -72.44),
    ('12345', 'checking', '2025-06-12T08:00:00Z', 'Fitness Club', -39.90),
    ('12345', 'checking', '2025-06-10T17:45:00Z', 'Corner Bakery', -6.20),
    ('12345', 'checking', '2025-06-09T13:20:00Z', 'Grace', 45.00),
    ('12345', 'checking', '2025-06-07T16:10:00Z', 'Garden Center', -118.70),
    ('12345', 'checking', '2025-06-06T10:00:00Z', 'Green Grocer', -58.03),
    ('12345', 'checking', '2025-06-05T09:00:00Z', 'Sky Mobile', -25.00),
    ('12345', 'checking', '2025-06-04T20:35:00Z', 'Trattoria Roma', -41.80),
    ('12345', 'checking', '2025-06-03T08:00:00Z', 'Savings account', -500.00),
    ('12345', 'checking', '2025-06-02T12:30:00Z', 'Pharmacy Plus', -17.25),
    ('12345', 'checking', '2025-06-01T06:00:00Z', 'Hilltop Homes', -1450.00),
    ('12345', 'checking', '2025-05-30T18:05:00Z', 'City Cinema', -13.50),
    ('12345', 'checking', '2025-05-29T10:40:00Z', 'Green Grocer', -69.97),
    ('12345', 'checking', '2025-05-27T14:55:00Z', 'Hardware House', -23.49),
    ('12345', 'checking', '2025-05-24T09:30:00Z', 'Corner Bakery', -9.10),
    ('12345', 'checking', '2025-05-22T07:50:00Z', 'Metro Transit', -49.00),
    ('12345', 'checking', '2025-05-20T19:00:00Z', 'Pizza Presto', -22.80),
    ('12345', 'checking', '2025-05-18T12:00:00Z', 'Analytical Engines Inc.', 2850.00),
    ('12345', 'checking', '2025-05-16T09:05:00Z', 'North Power Co.', -91.62),
    ('12345', 'savings', '2025-06-03T08:00:00Z', 'Checking account', 500.00),
    ('12345', 'savings', '2025-06-01T00:00:00Z', 'Interest', 20.05),
    ('12345', 'savings', '2025-05-03T08:00:00Z', 'Checking account', 500.00),
    ('67890', 'checking', '2025-06-19T08:30:00Z', 'Café Central', -4.90),
    ('67890', 'checking', '2025-06-12T12:00:00Z', 'Compiler GmbH', 1900.00);

insert into orders (id, customer_id, status, tracking_number, arrives_on) values
    ('10041', '12345', 'placed', null, null),
    ('10042', '12345', 'confirmed', null, null),
    ('10043', '12345', 'shipped', '1Z999AA10123456784', '2025-06-27'),
    ('10044', '67890', 'delivered', '1Z999AA10123456799', '2025-06-20'),
    ('10045', '67890', 'cancelled', null, null),
    ('10046', null, 'confirmed', null, '2025-07-02'),
    ('10047', null, 'shipped', '00340434161094042557', null);

insert into rejoinder.conversations (session, user_id, seen_at) values
    ('projects/demo/agent/sessions/1', '12345', '2025-06-23T09:00:00Z'),
    ('projects/project-id/agent/sessions/session-id', '12345', '2025-06-23T09:00:00Z');

insert into rejoinder.follows (entity_id, user_id, followed_at) values
    ('10041', '12345', '2025-06-23T09:00:00Z'), ('10042', '12345', '2025-06-23T09:00:00Z');

insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) values ('12345', 'orders', true, '2025-06-23T09:00:00Z');

insert into stock (product, store, quantity) values
    ('laptop', 'berlin', 12), ('laptop', 'dresden', 0), ('laptop', 'hamburg', 3),
    ('monitor', 'berlin', 0), ('monitor', 'dresden', 0), ('monitor', 'hamburg', 1),
    ('tablet', 'berlin', 7), ('tablet', 'dresden', 5), ('tablet', 'hamburg', 9),
    ('smartwatch', 'berlin', 0), ('smartwatch', 'dresden', 0), ('smartwatch', 'hamburg', 0);

insert into appointments (starts_at, customer, session, booked_at) values
    ('2030-01-07T10:00:00Z', 'Grace', 'demo', '2025-06-20T09:00:00Z'),
    ('2030-01-07T11:00:00Z', 'Grace', 'demo', '2025-06-20T09:00:00Z');
