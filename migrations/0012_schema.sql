-- The tables are in a schema of their own, so that a bot's database may hold what it likes under any name. What versions
-- before had made elsewhere is there by now. Functions look for tables there and nowhere else.

comment on schema rejoinder is 'Turns, events and conversations: the tables of Rejoinder itself';

alter function create_event_segment(date) set search_path = rejoinder, pg_temp;
alter function append_events(smallint[], text[], text[], text[], text[], text[], integer[], timestamptz[], text[], text[],
    timestamptz, timestamptz) set search_path = rejoinder, pg_temp;
alter function advance_cursor(smallint, bigint, bigint, uuid) set search_path = rejoinder, pg_temp;
alter function share_partitions(uuid) set search_path = rejoinder, pg_temp;
alter function keep_positions_ahead() set search_path = rejoinder, pg_temp;
alter function doubt_partitions() set search_path = rejoinder, pg_temp;

-- Written by statements that write something else with it: so each table has one place where it is written.

create or replace function know_conversation(in_session text, now timestamptz) returns text language sql
set search_path = rejoinder, pg_temp as $$
    insert into conversations (session, user_id, seen_at) values (in_session, in_session, now)
    on conflict (session) do update set seen_at = excluded.seen_at
    returning user_id
$$;
comment on function know_conversation is 'Notes that the conversation was seen; returns whose it is: its own name while nobody is identified';

create or replace function audit(at timestamptz, actor text, action text, of_position bigint, detail text) returns void language sql
set search_path = rejoinder, pg_temp as $$
    insert into event_audit (at, actor, action, position, detail) values (at, actor, action, of_position, detail)
$$;
comment on function audit is 'Adds an entry to the audit trail';

-- Programs that look for the tables elsewhere cannot live with this.
update schema_compatibility set oldest_known = 12;
