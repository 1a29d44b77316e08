-- Which programs the tables are fit for: a program that does not know the newest migrations may run on them all the
-- same, as an older replica does during a deployment, or the version before after a rollback.
create table schema_compatibility (
    only_row boolean primary key default true check (only_row),
    oldest_known bigint not null
);
comment on table schema_compatibility is
    'One row: how old a program may be that runs on these tables. A migration that older programs cannot live with moves it.';
comment on column schema_compatibility.only_row is 'Keeps the table at one row';
comment on column schema_compatibility.oldest_known is
    'A program must know the migration of this number, and so all before it; it need not know those after it';

insert into schema_compatibility (oldest_known) values (11);
