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

-- Programs that look for the tables elsewhere cannot live with this.
update schema_compatibility set oldest_known = 12;
