-- When we are open.
create table opening_hours (
    day    text primary key check (day = lower(day)),
    opens  time not null,
    closes time not null check (closes > opens)
);
comment on table opening_hours is 'The days of the week on which we are open';

insert into opening_hours (day, opens, closes) values
    ('monday', '09:00', '18:00'),
    ('tuesday', '09:00', '18:00'),
    ('wednesday', '09:00', '18:00'),
    ('thursday', '09:00', '20:00'),
    ('friday', '09:00', '18:00'),
    ('saturday', '10:00', '14:00');
