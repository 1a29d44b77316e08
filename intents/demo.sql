-- Demo data. The PIN of customer 12345 is 1234, that of 67890 is 4321.
insert into customers (id, name, pin_salt, pin_hash) values
    ('12345', 'Ada', '\x00', '\x00'), ('67890', 'Grace', '\x01', '\x01');
insert into accounts (customer_id, kind, balance, updated_at) values
    ('12345', 'checking', 3247.82, '2026-11-20T16:05:00Z'),
    ('12345', 'savings', 12050.00, '2026-11-01T00:00:00Z'),
    ('67890', 'checking', 95.10, '2026-11-19T08:30:00Z');
