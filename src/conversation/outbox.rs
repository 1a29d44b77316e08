//! The outbox: what reactions send, and what becomes of it.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::decision::{Decision, Delay, State};
use crate::client_credentials::ClientCredentials;
use crate::event::position::Position;
use crate::log::Logged;

/// The channel of messages for the open chat window.
pub(crate) const CHAT: &str = "chat";

/// The channel of HTTP calls that rules make.
pub(crate) const CALL: &str = "call";

/// Names outbox and goto rows, so that an event that is applied again makes the same ids.
const NAMES: Uuid = Uuid::from_u128(0x6f5b_0c1e_9f1d_4a57_8a3e_52d1_c7b0_4e26);

/// The id of what an action of a rule does to a recipient about an event.
pub(crate) fn id(event: &Logged, rule: &str, index: usize, recipient: &str, channel: &str) -> Uuid {
    let name = format!("{}\0{rule}\0{index}\0{recipient}\0{channel}", event.name());
    Uuid::new_v5(&NAMES, name.as_bytes())
}

/// Writes an id as text.
pub(crate) fn text_of_id<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// What a message says, and of which event; the body of a row that is no call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct MessageBody {
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) event_id: String,
    #[serde(default)]
    pub(crate) event_type: String,
    #[serde(default)]
    pub(crate) entity_id: String,
}

/// The body of a row as it is kept.
pub(crate) fn json(body: &impl Serialize) -> String {
    // Strings and JSON values only: there is nothing in it that cannot be written.
    serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned())
}

/// A row to add.
#[derive(Clone, Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) id: Uuid,
    pub(crate) position: Position,
    pub(crate) rule: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) user_id: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) topic: Option<&'a str>,
    pub(crate) body: String,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) decision: Decision,
}

/// Adds rows, and tells which were not there yet.
pub(crate) async fn add(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    rows: &[NewRow<'_>],
) -> sqlx::Result<HashSet<Uuid>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let positions: Vec<Position> = rows.iter().map(|row| row.position).collect();
    let rules: Vec<&str> = rows.iter().map(|row| row.rule).collect();
    let channels: Vec<&str> = rows.iter().map(|row| row.channel).collect();
    let users: Vec<Option<&str>> = rows.iter().map(|row| row.user_id.as_deref()).collect();
    let sessions: Vec<Option<&str>> = rows.iter().map(|row| row.session.as_deref()).collect();
    let topics: Vec<Option<&str>> = rows.iter().map(|row| row.topic).collect();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    let traces: Vec<Option<&str>> = rows.iter().map(|row| row.traceparent).collect();
    let states: Vec<&str> = rows.iter().map(|row| row.decision.state().as_str()).collect();
    let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.decision.reason()).collect();
    let due: Vec<DateTime<Utc>> = rows.iter().map(|row| row.decision.due_at(now)).collect();
    let added = sqlx::query_scalar!(
        "insert into rejoinder.outbox (id, position, rule, channel, user_id, session, topic, body, traceparent, state, reason,
             due_at, created_at, done_at)
         select n.id, n.position, n.rule, n.channel, n.user_id, n.session, n.topic, n.body::json, n.traceparent,
             n.state, n.reason, n.due_at, $13::timestamptz, case when n.state = 'suppressed' then $13::timestamptz end
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::text[], $11::text[], $12::timestamptz[])
             as n (id, position, rule, channel, user_id, session, topic, body, traceparent, state, reason, due_at)
         on conflict (id) do nothing
         returning id",
        &ids,
        &positions as &[Position],
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
    pub(super) position: Position,
    pub(super) channel: String,
    pub(super) user_id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) body: Value,
    pub(super) traceparent: Option<String>,
    /// Whether it is gathered, to be sent with others.
    pub(super) is_digest: bool,
    pub(super) attempts: i32,
}

/// What is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsDue {
    /// For chat windows.
    pub(super) chat: bool,
    /// By HTTP.
    pub(super) requests: bool,
}

/// Whether anything is due; reads no more than the first row of each kind.
pub(super) async fn is_due(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<IsDue> {
    sqlx::query_as!(
        IsDue,
        r#"select coalesce((select min(due_at) from rejoinder.outbox
                   where channel = 'chat' and state in ('pending', 'held')) <= $1, false) as "chat!",
               coalesce((select min(due_at) from rejoinder.outbox
                   where channel <> 'chat' and state in ('pending', 'held')) <= $1, false) as "requests!""#,
        now
    )
    .fetch_one(executor)
    .await
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
        r#"update rejoinder.outbox set attempts = attempts + 1, due_at = $2
         where id = any(array(
             select id from rejoinder.outbox
             where channel <> 'chat' and state in ('pending', 'held') and due_at <= $1
             -- so that the planner does not weigh it: it takes the first of the index, however many there are
             order by due_at limit (select $3::bigint)
             -- of two that send, each takes other rows
             for update skip locked
         ))
         returning id, position, channel, user_id, session, topic, body, traceparent, attempts,
             coalesce(reason = 'digest', false) as "is_digest!""#,
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
        r#"select id, position, channel, user_id, session, topic, body, traceparent, attempts,
             coalesce(reason = 'digest', false) as "is_digest!" from rejoinder.outbox
         where channel = 'chat' and state in ('pending', 'held') and due_at <= $1
         -- as above
         order by due_at, position, id limit (select $2::bigint)
         for update skip locked"#,
        now,
        limit
    )
    .fetch_all(executor)
    .await
}

/// What became of a row that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It has been sent.
    Sent,
    /// It is tried again at `due_at`; `attempts` is how many count.
    Again { attempts: i32, due_at: DateTime<Utc> },
    /// It is given up, for this reason, and the audit trail says so.
    Failed(String),
}

/// Writes what became of rows, all in one statement; those that are suppressed since stay so.
pub(super) async fn settle(
    executor: impl PgExecutor<'_>,
    rows: &[(Uuid, Became)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&(Uuid, Became)> = rows.iter().collect();
    // Of two statements that write several rows, none waits for the other while the other waits for it.
    rows.sort_by_key(|(id, _)| *id);
    let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
    let (mut states, mut reasons, mut attempts, mut due) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (_, became) in rows {
        let (state, reason, tried, due_at) = match became {
            Became::Sent => (Some(State::Sent.as_str()), None, None, None),
            Became::Again { attempts, due_at } => (None, None, Some(*attempts), Some(*due_at)),
            Became::Failed(reason) => (Some(State::Failed.as_str()), Some(reason.as_str()), None, None),
        };
        states.push(state);
        reasons.push(reason);
        attempts.push(tried);
        due.push(due_at);
    }
    // Found by their ids: a condition that says which states are due would imply the predicates of the indexes on what is
    // due, and while the statistics say that nothing is, the planner reads all of such an index for each row.
    sqlx::query!(
        "with settled as (
             update rejoinder.outbox o
             set state = coalesce(n.state, o.state), reason = coalesce(n.reason, o.reason),
                 attempts = coalesce(n.attempts, o.attempts), due_at = coalesce(n.due_at, o.due_at),
                 done_at = case when n.state is not null then $6::timestamptz end
             from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::timestamptz[])
                 as n (id, state, reason, attempts, due_at)
             where o.id = n.id and o.state not in ('sent', 'suppressed', 'failed')
             returning o.id, o.position, o.channel, o.state, o.reason
         )
         select rejoinder.audit($6, 'rejoinder', 'failed', position, channel || ' ' || id || ': ' || reason) from settled
         where state = 'failed'",
        &ids,
        states.as_slice() as &[Option<&str>],
        reasons.as_slice() as &[Option<&str>],
        attempts.as_slice() as &[Option<i32>],
        due.as_slice() as &[Option<DateTime<Utc>>],
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
        "delete from rejoinder.outbox where id in (
             select o.id from rejoinder.outbox o
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
pub(crate) struct CallBody<C> {
    #[serde(default)]
    pub(crate) event_id: String,
    #[serde(default)]
    pub(crate) event_type: String,
    #[serde(default)]
    pub(crate) entity_id: String,
    #[serde(flatten)]
    pub(crate) call: C,
}

/// A request to another service, sent at least once, each time with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpCall {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: String,
    /// Where to.
    pub(crate) url: String,
    /// More headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The JSON that is sent.
    pub(crate) body: Value,
    /// Name of the environment variable that holds the secret with which it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_env: Option<String>,
    /// Whose token it bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oauth: Option<ClientCredentials>,
    /// Whether a private address may be called.
    #[serde(default)]
    pub(crate) allow_private: bool,
}

/// Sends nothing of a topic that the user no longer wants to hear of.
pub(super) async fn suppress_topic(
    connection: &mut PgConnection,
    user_id: &str,
    topic: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.outbox set state = 'suppressed', reason = 'opted out', done_at = $3
         where user_id = $1 and topic = $2 and state in ('pending', 'held')",
        user_id,
        topic,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes what is held from a user for this reason due at another time.
pub(super) async fn hold_until(
    connection: &mut PgConnection,
    user_id: &str,
    reason: Delay,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.outbox set due_at = $2
         where user_id = $1 and state = 'held' and reason = $3
             -- of one that was tried, due_at is the lease, or the next attempt
             and attempts = 0",
        user_id,
        until,
        reason.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Erases what is in messages to a user, in their conversations, and in calls that events which concern them led to; what
/// has not gone out does not. Returns how many.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    user_id: &str,
    sessions: &[String],
    positions: &[Position],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    // The calls that events of the user led to are nobody's; they are erased with their events. Locked in the order of
    // their ids, as senders do, who write of several at once.
    let erased = sqlx::query!(
        "with erased as (
             select id from rejoinder.outbox
             where user_id = $1 or session = any($2)
                 or (position = any($3) and channel = 'call' and body::text <> '{}')
             order by id for update
         )
         update rejoinder.outbox set body = '{}', user_id = null, session = null,
             state = case when state in ('pending', 'held') then 'suppressed' else state end,
             reason = case when state in ('pending', 'held') then 'forgotten' else reason end,
             done_at = coalesce(done_at, $4)
         where id in (select id from erased)",
        user_id,
        sessions,
        positions as &[Position],
        now
    );
    Ok(erased.execute(connection).await?.rows_affected())
}
