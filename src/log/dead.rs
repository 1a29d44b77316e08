//! Dead letters: events that could not be applied, until somebody redrives or discards them.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgExecutor};
use tracing::warn;

use super::audit::{self, Entry};
use super::parked::{self, Waiting};
use crate::event::position::Position;
use crate::log::Logged;

/// How many there may be; beyond, what fails stays parked.
const MOST: i64 = 10_000;

/// How soon those that were too many are counted again.
const RECOUNT: TimeDelta = TimeDelta::seconds(5);

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) position: Position,
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) entity_id: String,
    pub(crate) payload: Option<Box<RawValue>>,
    pub(crate) attempts: i32,
    pub(crate) error: String,
    pub(crate) died_at: DateTime<Utc>,
}

/// Whether there may be more of them, as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    full_since: Mutex<Option<DateTime<Utc>>>,
}

impl DeadLetters {
    /// Whether another may be added; where none may, that is believed for some seconds. What fails stays parked then, and
    /// parked events count as waiting: so senders are told to come later, but for those of high priority.
    pub(crate) async fn have_room(&self, executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<bool> {
        let full_since = *self.full_since.lock().unwrap_or_else(PoisonError::into_inner);
        if full_since.is_some_and(|since| (now - since).abs() < RECOUNT) {
            return Ok(false);
        }
        let letters = sqlx::query_scalar!(
            r#"select count(*) as "letters!" from (select from rejoinder.dead_letters limit $1) l"#,
            MOST
        )
        .fetch_one(executor)
        .await?;
        let is_full = letters >= MOST;
        if is_full {
            warn!(
                letters,
                "no more dead letters are taken; events that fail stay parked until some are redriven or discarded"
            );
        }
        *self.full_since.lock().unwrap_or_else(PoisonError::into_inner) = is_full.then_some(now);
        Ok(!is_full)
    }
}

/// Gives an event up.
pub(crate) async fn bury(
    transaction: &mut PgConnection,
    event: &Logged,
    attempts: i32,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let envelope = &event.envelope;
    sqlx::query!(
        "insert into rejoinder.dead_letters (position, partition, entity_id, received_at, source, event_id, event_type, payload,
             attempts, error, died_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11)
         on conflict (position) do update
         set attempts = excluded.attempts, error = excluded.error, died_at = excluded.died_at",
        event.position.number(),
        envelope.partition().number(),
        &*envelope.entity_id,
        event.received_at,
        &*envelope.source,
        &*envelope.event_id,
        &*envelope.event_type,
        envelope.payload.get(),
        attempts,
        error,
        now
    )
    .execute(&mut *transaction)
    .await?;
    let entry = Entry {
        actor: "rejoinder",
        action: "dead",
        position: Some(event.position),
        detail: error,
    };
    audit::write(transaction, &entry, now).await
}

/// Dead letters, the newest first, at most `limit`; of one event where `event_id` is given.
pub(crate) async fn list(
    executor: impl PgExecutor<'_>,
    event_id: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<DeadLetter>> {
    let rows = sqlx::query!(
        "select position, source, event_id, event_type, entity_id, payload::text as payload, attempts, error, died_at
         from rejoinder.dead_letters where $1::text is null or event_id = $1 order by died_at desc, position desc limit $2",
        event_id,
        limit
    )
    .fetch_all(executor)
    .await?;
    let letters = rows.into_iter().map(|row| DeadLetter {
        position: row.position.into(),
        source: row.source,
        event_id: row.event_id,
        event_type: row.event_type,
        entity_id: row.entity_id,
        payload: row.payload.and_then(|text| RawValue::from_string(text).ok()),
        attempts: row.attempts,
        error: row.error,
        died_at: row.died_at,
    });
    Ok(letters.collect())
}

/// Gives dead letters back to the workers, who try them anew; returns those that were there.
///
/// Each is tried in its turn among the parked events of its entity.
pub(crate) async fn redrive(
    transaction: &mut PgConnection,
    positions: &[Position],
    actor: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Position>> {
    let letters = sqlx::query_as!(
        Waiting,
        "delete from rejoinder.dead_letters where position = any($1)
         returning partition, entity_id, position, received_at",
        positions as &[Position]
    )
    .fetch_all(&mut *transaction)
    .await?;
    parked::give_back(&mut *transaction, &letters, now).await?;
    let redriven: Vec<Position> = letters.iter().map(|letter| letter.position).collect();
    audit::write_each(transaction, &redriven, actor, "redrive", "", now).await?;
    Ok(redriven)
}

/// How many of these events, given back, find facts about their entity that a later event has set.
pub(crate) async fn behind(executor: impl PgExecutor<'_>, positions: &[Position]) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "behind!" from rejoinder.parked_events p where p.position = any($1) and exists (
               select from rejoinder.facts f where f.scope = 'entity' and f.subject = p.entity_id and f.position > p.position)"#,
        positions as &[Position]
    )
    .fetch_one(executor)
    .await
}

/// Ends dead letters without applying them; returns those that were there.
pub(crate) async fn discard(
    transaction: &mut PgConnection,
    positions: &[Position],
    actor: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Position>> {
    let discarded = sqlx::query_scalar!(
        "delete from rejoinder.dead_letters where position = any($1) returning position",
        positions as &[Position]
    )
    .fetch_all(&mut *transaction)
    .await?;
    let discarded = Position::all(discarded);
    audit::write_each(transaction, &discarded, actor, "discard", reason, now).await?;
    Ok(discarded)
}

/// Erases what was in these events; returns of how many.
pub(crate) async fn erase(connection: &mut PgConnection, positions: &[Position]) -> sqlx::Result<u64> {
    let erased = sqlx::query!(
        "update rejoinder.dead_letters set payload = null, error = 'erased'
         where position = any($1) and (payload is not null or error <> 'erased')",
        positions as &[Position]
    );
    Ok(erased.execute(connection).await?.rows_affected())
}
