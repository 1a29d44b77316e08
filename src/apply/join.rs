//! Rules that wait for several events: what has come so far, kept until all have or the time is over.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

use crate::event::partition::{Partition, Partitions};
use crate::event::position::Position;
use crate::log::Logged;
use crate::reactions::SeenEvent;

/// How long a join waits that is opened when its time is already over: the other events may be right behind.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// The time of a join that a replay has opened: history has no time-outs. What is left of them goes when the replay ends.
pub(crate) const NEVER: DateTime<Utc> = DateTime::from_timestamp(253_370_764_800, 0).expect("a time in range");

/// How long it is known that a join has acted.
const REMEMBERED: TimeDelta = TimeDelta::days(31);

/// One wait of one rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Join {
    /// The rule's name.
    pub(crate) rule: String,
    /// What its events have in common.
    pub(crate) key: String,
    /// What has come, by event type.
    pub(crate) seen: BTreeMap<String, SeenEvent>,
    /// How far it is.
    pub(crate) state: State,
    /// When the time is over.
    pub(crate) deadline: DateTime<Utc>,
    /// How often its time-out has failed.
    pub(crate) attempts: i32,
    /// Whether it is to be written.
    pub(crate) is_changed: bool,
}

/// How far a join is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits.
    Open,
    /// All came, and the rule has acted.
    Done,
    /// They did not, and the time-out has acted.
    TimedOut,
}

/// The event as a join keeps it; `payload` as rules see it, in this version of its schema.
pub(crate) fn seen(event: &Logged, schema_version: u32, payload: Value) -> SeenEvent {
    let envelope = &event.envelope;
    SeenEvent {
        position: event.position,
        received_at: event.received_at,
        is_named_by_position: event.is_named_by_position,
        source: envelope.source.to_string(),
        event_id: envelope.event_id.clone(),
        entity_id: envelope.entity_id.clone(),
        user_id: envelope.user_id.clone(),
        timestamp: envelope.timestamp,
        schema_version,
        traceparent: envelope.traceparent.clone(),
        hops: envelope.hops,
        payload,
    }
}

/// When a join that this event opens is over. One that is opened when its time is already over, because the event has
/// waited, still gets a while.
pub(crate) fn deadline(event: &Logged, within: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let over = event.received_at + TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
    if over > now { over } else { now + GRACE }
}

/// The joins of these rules and keys, opened where they were not, and locked until the commit.
///
/// `openings` are (rule, key, deadline). Locked in one order, so that two workers cannot wait for each other.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    partition: Partition,
    openings: &BTreeMap<(String, String), DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Join>> {
    if openings.is_empty() {
        return Ok(Vec::new());
    }
    let rules: Vec<String> = openings.keys().map(|(rule, _)| rule.clone()).collect();
    let keys: Vec<String> = openings.keys().map(|(_, key)| key.clone()).collect();
    let deadlines: Vec<DateTime<Utc>> = openings.values().copied().collect();
    sqlx::query!(
        "insert into rejoinder.event_joins (rule, key, partition, seen, state, deadline, changed_at)
         select j.rule, j.key, $4, '{}', 'open', j.deadline, $5
         from unnest($1::text[], $2::text[], $3::timestamptz[]) j (rule, key, deadline)
         order by j.rule, j.key on conflict (rule, key) do nothing",
        &rules,
        &keys,
        &deadlines,
        partition.number(),
        now
    )
    .execute(&mut *transaction)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select j.rule, j.key, j.seen::text as "seen!", j.state as "state: State", j.deadline, j.attempts
           from rejoinder.event_joins j where (j.rule, j.key) in (select * from unnest($1::text[], $2::text[]))
           order by j.rule, j.key for update"#,
        &rules,
        &keys
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows.into_iter().map(Join::from).collect())
}

/// Writes those joins that have changed, of those that [`lock`] or [`lock_open`] returned, and takes back those that were
/// opened for an event which is not applied yet.
pub(crate) async fn save<'a>(
    transaction: &mut PgConnection,
    joins: impl IntoIterator<Item = &'a Join>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (empty, joins): (Vec<&Join>, Vec<&Join>) = joins.into_iter().partition(|join| join.seen.is_empty());
    for join in empty {
        sqlx::query!(
            "delete from rejoinder.event_joins where rule = $1 and key = $2",
            join.rule,
            join.key
        )
        .execute(&mut *transaction)
        .await?;
    }
    let joins: Vec<&Join> = joins.into_iter().filter(|join| join.is_changed).collect();
    if joins.is_empty() {
        return Ok(());
    }
    let rules: Vec<String> = joins.iter().map(|join| join.rule.clone()).collect();
    let keys: Vec<String> = joins.iter().map(|join| join.key.clone()).collect();
    let seen: Vec<String> = joins.iter().map(|join| json(&join.seen)).collect();
    let states: Vec<String> = joins.iter().map(|join| join.state.name().to_owned()).collect();
    let deadlines: Vec<DateTime<Utc>> = joins.iter().map(|join| join.deadline).collect();
    let attempts: Vec<i32> = joins.iter().map(|join| join.attempts).collect();
    sqlx::query!(
        "update rejoinder.event_joins j
         set seen = n.seen::json, state = n.state, deadline = n.deadline, attempts = n.attempts, changed_at = $7
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[])
             n (rule, key, seen, state, deadline, attempts)
         where j.rule = n.rule and j.key = n.key",
        &rules,
        &keys,
        &seen,
        &states,
        &deadlines,
        &attempts,
        now
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Rule and key of a join of a partition whose time is over; none while an event that came before their time was over is
/// still on its way through the log, or is tried again because a worker has ended on the way.
pub(crate) async fn due(
    executor: impl PgExecutor<'_>,
    partition: Partition,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(String, String)>> {
    let row = sqlx::query!(
        r#"with waiting as (
               select least(min(first.received_at),
                   (select min(e.received_at) from rejoinder.parked_events e where e.tried_by is not null)) as since
               from unnest($3::smallint[]) p (partition)
               cross join lateral (
                   select coalesce((select c.position from rejoinder.event_cursors c where c.partition = p.partition
                                    order by c.seq desc limit 1), 0) as position
               ) done
               cross join lateral (
                   select l.received_at from rejoinder.event_log l
                   where l.partition = p.partition and l.position > done.position
                   order by l.position limit 1
               ) first
           )
           select j.rule, j.key from rejoinder.event_joins j
           where j.partition = $1 and j.state = 'open' and j.deadline <= $2
               and not exists (select from waiting where waiting.since <= j.deadline)
           order by j.deadline limit 1"#,
        partition.number(),
        now,
        &Partitions::ALL.numbers()
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| (row.rule, row.key)))
}

/// Puts on record that a join's time-out is about to act, in a transaction of its own: if the process ends, that counts as
/// an attempt that failed.
pub(crate) async fn begin(executor: impl PgExecutor<'_>, rule: &str, key: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.event_joins set attempts = attempts + 1 where rule = $1 and key = $2 and state = 'open'",
        rule,
        key
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Takes back from the record an attempt that was not made: the database was in the way.
pub(crate) async fn give_up(executor: impl PgExecutor<'_>, rule: &str, key: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.event_joins set attempts = attempts - 1 where rule = $1 and key = $2 and state = 'open' and attempts > 0",
        rule,
        key
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// A join whose time is over, locked until the commit; none if it has ended since.
pub(crate) async fn lock_open(
    transaction: &mut PgConnection,
    rule: &str,
    key: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Join>> {
    let row = sqlx::query_as!(
        Row,
        r#"select j.rule, j.key, j.seen::text as "seen!", j.state as "state: State", j.deadline, j.attempts
           from rejoinder.event_joins j where j.rule = $1 and j.key = $2 and j.state = 'open' and j.deadline <= $3 for update"#,
        rule,
        key,
        now
    )
    .fetch_optional(transaction)
    .await?;
    Ok(row.map(Join::from))
}

/// Deletes what a replay has opened and not completed.
pub(crate) async fn end_replay(executor: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from rejoinder.event_joins where state = 'open' and deadline = $1",
        NEVER
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Deletes joins that have acted long ago.
pub(crate) async fn delete_old(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "delete from rejoinder.event_joins where state <> 'open' and changed_at < $1",
        now - REMEMBERED
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::TimedOut => "timed_out",
        }
    }
}

struct Row {
    rule: String,
    key: String,
    seen: String,
    state: State,
    deadline: DateTime<Utc>,
    attempts: i32,
}

impl From<Row> for Join {
    fn from(row: Row) -> Self {
        Self {
            rule: row.rule,
            key: row.key,
            // Written by `save` only.
            seen: serde_json::from_str(&row.seen).unwrap_or_default(),
            state: row.state,
            deadline: row.deadline,
            attempts: row.attempts,
            is_changed: false,
        }
    }
}

fn json(seen: &BTreeMap<String, SeenEvent>) -> String {
    serde_json::to_string(seen).unwrap_or_else(|_| "{}".to_owned())
}

/// Erases what was in these events, which wait for others; returns of how many joins.
pub(crate) async fn erase(connection: &mut PgConnection, positions: &[Position]) -> sqlx::Result<u64> {
    let erased = sqlx::query!(
        "update rejoinder.event_joins j set seen = (
             select coalesce(json_object_agg(s.key, case
                 when (s.value->>'position')::bigint = any($1)
                 then (s.value::jsonb - 'user_id' || '{\"payload\": null}')::json else s.value end), '{}')
             from json_each(j.seen) s
         )
         where exists (
             select from json_each(j.seen) s
             where (s.value->>'position')::bigint = any($1)
                 and (s.value->>'payload' is not null or s.value->>'user_id' is not null)
         )",
        positions as &[Position]
    );
    Ok(erased.execute(connection).await?.rows_affected())
}
