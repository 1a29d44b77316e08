//! The outbox: what reactions send, and what becomes of it.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// The channel of messages for the open chat window.
pub(super) const CHAT: &str = "chat";

/// The channel of HTTP calls that rules make.
pub(super) const CALL: &str = "call";

/// Names outbox and goto rows, so that an event that is applied again makes the same ids.
const NAMES: Uuid = Uuid::from_u128(0x6f5b_0c1e_9f1d_4a57_8a3e_52d1_c7b0_4e26);

/// The id of what an action of a rule does to a recipient about an event.
pub(super) fn id(position: i64, rule: &str, index: usize, recipient: &str, channel: &str) -> Uuid {
    let name = format!("{position}\0{rule}\0{index}\0{recipient}\0{channel}");
    Uuid::new_v5(&NAMES, name.as_bytes())
}

/// Writes an id as text.
pub(super) fn text_of_id<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// What a message says, and of which event; the body of a row that is no call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct MessageBody {
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) event_id: String,
    #[serde(default)]
    pub(super) event_type: String,
    #[serde(default)]
    pub(super) entity_id: String,
}

/// A row to add.
#[derive(Clone, Debug)]
pub(super) struct NewRow<'a> {
    pub(super) id: Uuid,
    pub(super) position: i64,
    pub(super) rule: &'a str,
    pub(super) channel: &'a str,
    pub(super) user_id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) topic: Option<&'a str>,
    pub(super) body: String,
    pub(super) traceparent: Option<&'a str>,
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) due_at: DateTime<Utc>,
}

/// Adds rows, and tells which were not there yet.
pub(super) async fn add(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    rows: &[NewRow<'_>],
) -> sqlx::Result<HashSet<Uuid>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
    let rules: Vec<&str> = rows.iter().map(|row| row.rule).collect();
    let channels: Vec<&str> = rows.iter().map(|row| row.channel).collect();
    let users: Vec<Option<&str>> = rows.iter().map(|row| row.user_id.as_deref()).collect();
    let sessions: Vec<Option<&str>> = rows.iter().map(|row| row.session.as_deref()).collect();
    let topics: Vec<Option<&str>> = rows.iter().map(|row| row.topic).collect();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    let traces: Vec<Option<&str>> = rows.iter().map(|row| row.traceparent).collect();
    let states: Vec<&str> = rows.iter().map(|row| row.state).collect();
    let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason).collect();
    let due: Vec<DateTime<Utc>> = rows.iter().map(|row| row.due_at).collect();
    let added = sqlx::query_scalar!(
        "insert into outbox (id, position, rule, channel, user_id, session, topic, body, traceparent, state, reason,
             due_at, created_at, done_at)
         select n.id, n.position, n.rule, n.channel, n.user_id, n.session, n.topic, n.body::json, n.traceparent,
             n.state, n.reason, n.due_at, $13::timestamptz, case when n.state = 'suppressed' then $13::timestamptz end
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::text[], $11::text[], $12::timestamptz[])
             as n (id, position, rule, channel, user_id, session, topic, body, traceparent, state, reason, due_at)
         on conflict (id) do nothing
         returning id",
        &ids,
        &positions,
        rules.as_slice() as &[&str],
        channels.as_slice() as &[&str],
        users.as_slice() as &[Option<&str>],
        sessions.as_slice() as &[Option<&str>],
        topics.as_slice() as &[Option<&str>],
        bodies.as_slice() as &[&str],
        traces.as_slice() as &[Option<&str>],
        states.as_slice() as &[&str],
        reasons.as_slice() as &[Option<&str>],
        &due,
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(added.into_iter().collect())
}

/// A row that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) id: Uuid,
    pub(super) position: i64,
    pub(super) channel: String,
    pub(super) user_id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) body: Value,
    pub(super) traceparent: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) attempts: i32,
}

/// Takes rows that go out by HTTP, so that nobody else does until `lease_until`; in the order of their events.
pub(super) async fn lease(
    executor: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    let mut due = sqlx::query_as!(
        Due,
        "update outbox set attempts = attempts + 1, due_at = $2
         where id in (
             select id from outbox
             where channel <> 'chat' and state in ('pending', 'held') and due_at <= $1
             order by due_at limit $3
             -- of two that send, each takes other rows
             for update skip locked
         )
         returning id, position, channel, user_id, session, topic, body, traceparent, reason, attempts",
        now,
        lease_until,
        limit
    )
    .fetch_all(executor)
    .await?;
    due.sort_by_key(|row| row.position);
    Ok(due)
}

/// Takes the chat rows that are due; they are locked until the transaction's end.
pub(super) async fn due_chat(executor: impl PgExecutor<'_>, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        "select id, position, channel, user_id, session, topic, body, traceparent, reason, attempts from outbox
         where channel = 'chat' and state in ('pending', 'held') and due_at <= $1
         order by due_at, position, id limit $2
         for update skip locked",
        now,
        limit
    )
    .fetch_all(executor)
    .await
}

/// They have been sent.
pub(super) async fn sent(executor: impl PgExecutor<'_>, ids: &[Uuid], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set state = 'sent', done_at = $2 where id = any($1) and state in ('pending', 'held')",
        ids,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// They are tried again at `due_at`; `attempts` is how many count.
pub(super) async fn again(
    executor: impl PgExecutor<'_>,
    ids: &[Uuid],
    attempts: i32,
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set attempts = $2, due_at = $3 where id = any($1) and state in ('pending', 'held')",
        ids,
        attempts,
        due_at
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// They are given up, and the audit trail says so.
pub(super) async fn failed(
    executor: impl PgExecutor<'_>,
    ids: &[Uuid],
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "with failed as (
             update outbox set state = 'failed', reason = $2, done_at = $3
             where id = any($1) and state in ('pending', 'held')
             returning id, position, channel
         )
         insert into event_audit (at, actor, action, position, detail)
         select $3, 'rejoinder', 'failed', position, channel || ' ' || id || ': ' || $2 from failed",
        ids,
        reason,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Deletes rows that are done, of events applied before `until` that are not in the positions of `kept`: at most
/// `limit`, the oldest. A row is what keeps an event that is applied again from being sent again; so the events must be
/// gone.
pub(crate) async fn delete_done(
    executor: impl PgExecutor<'_>,
    until: DateTime<Utc>,
    kept: &[RangeInclusive<i64>],
    limit: i64,
) -> sqlx::Result<u64> {
    let first: Vec<i64> = kept.iter().map(|range| *range.start()).collect();
    let last: Vec<i64> = kept.iter().map(|range| *range.end()).collect();
    let deleted = sqlx::query!(
        "delete from outbox where id in (
             select o.id from outbox o
             where o.state in ('sent', 'suppressed', 'failed') and o.created_at < $1
                 and not exists (
                     select from unnest($2::bigint[], $3::bigint[]) as kept (first, last)
                     where o.position between kept.first and kept.last
                 )
             order by o.created_at limit $4
             -- of two that sweep, each deletes other rows
             for update skip locked
         )",
        until,
        &first,
        &last,
        limit
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}

/// The body of a call's row: the call, and the event that led to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CallBody<C> {
    #[serde(default)]
    pub(super) event_id: String,
    #[serde(default)]
    pub(super) event_type: String,
    #[serde(default)]
    pub(super) entity_id: String,
    #[serde(flatten)]
    pub(super) call: C,
}
