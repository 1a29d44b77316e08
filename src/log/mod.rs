//! The log of events: appended to in order of commit, read by partition.

pub(crate) mod audit;
pub(crate) mod cursor;
pub(crate) mod dead;
pub(crate) mod doubt;
pub(crate) mod lease;
pub(crate) mod parked;
pub(crate) mod wake;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use futures_util::{Stream, TryStreamExt as _};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::partition::{Partition, Partitions};
use crate::event::payload::Payload;
use crate::event::position::Position;

/// For how long an event that a sender repeats is known to be one; none repeats for longer than some days.
pub(crate) const KNOWN_FOR: TimeDelta = TimeDelta::days(8);

/// An event that is in the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// Its place in the order of commit.
    pub(crate) position: Position,
    /// When it was stored.
    pub(crate) received_at: DateTime<Utc>,
    /// The event.
    pub(crate) envelope: Envelope,
    /// Whether its payload is gone because its user was forgotten; it is null then.
    pub(crate) is_erased: bool,
    /// Whether it was stored when events were named by their positions.
    pub(crate) is_named_by_position: bool,
}

impl Logged {
    /// What the ids of all that comes of it are made of. Its position is no name: after a failover that has lost events,
    /// another event has it.
    pub(crate) fn name(&self) -> String {
        if self.is_named_by_position {
            return self.position.to_string();
        }
        format!("{}\0{}", self.envelope.source, self.envelope.event_id)
    }
}

/// What became of an event that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Whether it was not there before.
    pub(crate) is_new: bool,
    /// Its position, or that of the one which was there.
    pub(crate) position: Position,
}

/// What this process knows of the log's segments.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The week whose segment is known to be there, as days from the common era.
    week: AtomicI32,
}

impl Log {
    /// Makes sure that there is a segment for what is appended at `now`; does nothing when this process knows it.
    ///
    /// In no transaction of the caller's: what a rollback undoes must not be remembered as done.
    pub(crate) async fn make_room(&self, pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
        let monday = monday(now);
        let week = monday.num_days_from_ce();
        if self.week.load(Ordering::Relaxed) == week {
            return Ok(());
        }
        sqlx::query!("select rejoinder.create_event_segment($1)", monday)
            .execute(pool)
            .await?;
        self.week.store(week, Ordering::Relaxed);
        Ok(())
    }
}

/// Appends events in their order; seen by workers once the transaction commits, and durable if its commit waits for that.
/// [`Log::make_room`] comes before.
///
/// Holds a lock on the log until then, so nothing slow may follow in the transaction. An event that was appended since
/// `known_since`, or stands twice in `events`, is stored once.
///
/// # Errors
/// When the database cannot; then nothing is stored.
pub(crate) async fn append(
    connection: &mut PgConnection,
    events: &[&Envelope],
    now: DateTime<Utc>,
    known_since: DateTime<Utc>,
) -> sqlx::Result<Vec<Appended>> {
    let (once, places) = once_each(events);
    let column = |of: fn(&Envelope) -> &str| once.iter().map(|event| of(event)).collect::<Vec<_>>();
    let users: Vec<Option<&str>> = once.iter().map(|event| event.user_id.as_deref()).collect();
    let traces: Vec<Option<&str>> = once.iter().map(|event| event.traceparent.as_deref()).collect();
    let partitions: Vec<i16> = once.iter().map(|event| event.partition().number()).collect();
    let versions: Vec<i32> = once.iter().map(|event| event.schema_version.cast_signed()).collect();
    let times: Vec<DateTime<Utc>> = once.iter().map(|event| event.timestamp).collect();
    let hops: Vec<i32> = once.iter().map(|event| event.hops.cast_signed()).collect();
    let rows = sqlx::query!(
        r#"select is_new as "is_new!", at_position as "position!"
           from rejoinder.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"#,
        &partitions,
        &column(|event| &event.source) as &[&str],
        &column(|event| &event.event_id) as &[&str],
        &column(|event| &event.event_type) as &[&str],
        &column(|event| &event.entity_id) as &[&str],
        &users as &[Option<&str>],
        &versions,
        &times,
        &column(|event| event.payload.get()) as &[&str],
        &traces as &[Option<&str>],
        &hops,
        now,
        known_since,
    )
    .fetch_all(connection)
    .await?;
    let stored = |(place, is_first): (usize, bool)| {
        let row = rows.get(place).ok_or(sqlx::Error::RowNotFound)?;
        Ok(Appended {
            is_new: row.is_new && is_first,
            position: row.position.into(),
        })
    };
    places.into_iter().map(stored).collect()
}

/// Each event once, and for all of them which one that is, and whether it is the first.
fn once_each<'a>(events: &[&'a Envelope]) -> (Vec<&'a Envelope>, Vec<(usize, bool)>) {
    let mut seen = HashMap::with_capacity(events.len());
    let mut once = Vec::with_capacity(events.len());
    let places = events.iter().map(|event| {
        let next = once.len();
        let place = *seen.entry((&*event.source, event.event_id.as_str())).or_insert(next);
        if place == next {
            once.push(*event);
        }
        (place, place == next)
    });
    let places = places.collect();
    (once, places)
}

/// The next events of a partition after `position`, in order: at most `limit`, and no more once they have `bytes` of
/// payload.
pub(crate) async fn read(
    executor: impl PgExecutor<'_>,
    partition: Partition,
    position: Position,
    limit: i64,
    bytes: usize,
) -> sqlx::Result<Vec<Logged>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select position, received_at, source, event_id, event_type, entity_id, user_id, schema_version, occurred_at,
               payload::text as payload, traceparent, hops,
               coalesce(received_at < (select by_position_until from rejoinder.event_names), false) as "is_named_by_position!"
           from rejoinder.event_log where partition = $1 and position > $2 order by position limit $3"#,
        partition.number(),
        position.number(),
        limit
    )
    .fetch(executor);
    as_much_as(rows, bytes).await
}

/// The types of a source's events, by their ids.
pub(crate) async fn types_of(
    executor: impl PgExecutor<'_>,
    source: &str,
    event_ids: &[&str],
) -> sqlx::Result<HashMap<String, String>> {
    let rows = sqlx::query!(
        "select event_id, event_type from rejoinder.event_log where source = $1 and event_id = any($2) order by position",
        source,
        event_ids as &[&str]
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.event_id, row.event_type)).collect())
}

/// Whether an event that was read before is still there. What is appended is seen before it is durable: a
/// crash of the database can take it back, with all that came after it, and give its position to another event.
pub(crate) async fn holds(executor: impl PgExecutor<'_>, event: &Logged) -> sqlx::Result<bool> {
    let envelope = &event.envelope;
    sqlx::query_scalar!(
        r#"select exists (select from rejoinder.event_log where partition = $1 and position = $2 and received_at = $3
               and source = $4 and event_id = $5) as "holds!""#,
        envelope.partition().number(),
        event.position.number(),
        event.received_at,
        &*envelope.source,
        &*envelope.event_id
    )
    .fetch_one(executor)
    .await
}

/// The events of a partition at these positions, in order, and no more once they have `bytes` of payload; those whose
/// segment was dropped are missing.
pub(crate) async fn at(
    executor: impl PgExecutor<'_>,
    partition: Partition,
    positions: &[Position],
    bytes: usize,
) -> sqlx::Result<Vec<Logged>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select position, received_at, source, event_id, event_type, entity_id, user_id, schema_version, occurred_at,
               payload::text as payload, traceparent, hops,
               coalesce(received_at < (select by_position_until from rejoinder.event_names), false) as "is_named_by_position!"
           from rejoinder.event_log where partition = $1 and position = any($2) order by position"#,
        partition.number(),
        positions as &[Position]
    )
    .fetch(executor);
    as_much_as(rows, bytes).await
}

/// Events as they are read, until they have `bytes` of payload.
async fn as_much_as(
    mut rows: impl Stream<Item = sqlx::Result<Row>> + Unpin,
    bytes: usize,
) -> sqlx::Result<Vec<Logged>> {
    let (mut events, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let event = Logged::from(row);
        size += event.envelope.payload.get().len();
        events.push(event);
        if size >= bytes {
            break;
        }
    }
    Ok(events)
}

/// How many events wait to be applied, parked ones too: exactly while few do, estimated when a partition has 200 of them,
/// at no more than there can be. Parked ones are counted up to `limit`.
pub(crate) async fn lag(executor: impl PgExecutor<'_>, limit: u32) -> sqlx::Result<u64> {
    let waiting = sqlx::query_scalar!(
        r#"select coalesce(least(
               sum(case when head.events < 200 then head.events
                   -- As dense as its first ones; to count them all would take the longer the more there are.
                   else 200 + (last.position - head.last
                       - case when head.last < h.skipped_to and last.position > h.skipped_to
                           then h.skipped_to - greatest(h.skipped_from, head.last) else 0 end
                       ) * 199.0 / (head.last - head.first) end),
               -- Those of one entity may lie close together at first; but there are no more events than positions.
               1 + max(last.position) - min(head.first)
                   - case when min(head.first) < max(h.skipped_to) and max(last.position) > max(h.skipped_to)
                       then max(h.skipped_to) - greatest(max(h.skipped_from), min(head.first)) else 0 end
               ), 0)::bigint
               + (select count(*) from (select from rejoinder.parked_events limit $1) parked) as "events!"
           from rejoinder.position_history h cross join unnest($2::smallint[]) p (partition)
           cross join lateral (
               select coalesce((select c.position from rejoinder.event_cursors c where c.partition = p.partition
                                order by c.seq desc limit 1), 0) as position
           ) done
           cross join lateral (
               select count(*) as events, min(l.position) as first, max(l.position) as last
               from (select l.position from rejoinder.event_log l
                     where l.partition = p.partition and l.position > done.position
                     order by l.position limit 200) l
           ) head
           cross join lateral (
               select max(l.position) as position from rejoinder.event_log l where l.partition = p.partition
           ) last"#,
        i64::from(limit),
        &Partitions::ALL.numbers()
    )
    .fetch_one(executor)
    .await?;
    Ok(waiting.cast_unsigned())
}

/// The Monday of the week of `time`, in UTC.
pub(crate) fn monday(time: DateTime<Utc>) -> NaiveDate {
    let day = time.date_naive();
    day - TimeDelta::days(day.weekday().num_days_from_monday().into())
}

struct Row {
    position: Position,
    received_at: DateTime<Utc>,
    source: String,
    event_id: String,
    event_type: String,
    entity_id: String,
    user_id: Option<String>,
    schema_version: i32,
    occurred_at: DateTime<Utc>,
    payload: Option<String>,
    traceparent: Option<String>,
    hops: i32,
    is_named_by_position: bool,
}

impl From<Row> for Logged {
    fn from(row: Row) -> Self {
        let is_erased = row.payload.is_none();
        let payload = row.payload.and_then(|text| RawValue::from_string(text).ok());
        Self {
            is_erased,
            is_named_by_position: row.is_named_by_position,
            position: row.position,
            received_at: row.received_at,
            envelope: Envelope {
                source: row.source.into(),
                event_id: Id::stored(row.event_id),
                event_type: EventType::stored(row.event_type),
                timestamp: row.occurred_at,
                entity_id: Id::stored(row.entity_id),
                user_id: row.user_id.map(Id::stored),
                schema_version: row.schema_version.cast_unsigned(),
                payload: Payload::stored(payload.unwrap_or_else(|| RawValue::NULL.to_owned())),
                traceparent: row.traceparent,
                hops: row.hops.cast_unsigned(),
            },
        }
    }
}

/// Erases what was in these events; returns of which it was.
pub(crate) async fn erase_payloads(
    connection: &mut PgConnection,
    positions: &[Position],
) -> sqlx::Result<Vec<Position>> {
    let numbers = sqlx::query_scalar!(
        "update rejoinder.event_log set payload = null
         -- by the partition, too: that is what the index is on
         where partition = any($1) and position = any($2) and payload is not null
         returning position",
        &Partitions::ALL.numbers(),
        positions as &[Position]
    )
    .fetch_all(connection)
    .await?;
    Ok(Position::all(numbers))
}

/// Erases that events concern this user; returns which.
pub(crate) async fn erase_user(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<Vec<Position>> {
    let numbers = sqlx::query_scalar!(
        "update rejoinder.event_log set user_id = null where user_id = $1 returning position",
        user_id
    )
    .fetch_all(connection)
    .await?;
    Ok(Position::all(numbers))
}
