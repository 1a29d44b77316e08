//! Events that wait: one that failed, to be tried again, and those of its entity behind it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::log::Logged;
use crate::backoff::Backoff;

/// How often an event is tried before it is a dead letter.
pub(crate) const MAX_ATTEMPTS: i32 = 5;

/// How long to wait after an attempt that failed: at most 1, 2, 4 and 8 seconds.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(300),
};

/// An event whose time has come to be tried again.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Of the event.
    pub(crate) position: i64,
    /// How often it was tried.
    pub(crate) attempts: i32,
}

/// How long to wait after so many attempts.
pub(crate) fn wait_after(attempts: i32) -> Duration {
    BACKOFF.wait(attempts.unsigned_abs())
}

/// The entities of a partition that are held up.
pub(crate) async fn entities(executor: impl PgExecutor<'_>, partition: u8) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct entity_id from parked_events where partition = $1",
        i16::from(partition)
    )
    .fetch_all(executor)
    .await
}

/// Those that are due, at most one of each entity: the first.
pub(crate) async fn due(executor: impl PgExecutor<'_>, partition: u8, now: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        "select p.position, p.attempts from parked_events p
         where p.partition = $1 and p.retry_at <= $2 and not exists (
             select from parked_events before
             where before.partition = p.partition and before.entity_id = p.entity_id and before.position < p.position
         )
         order by p.retry_at limit 100",
        i16::from(partition),
        now
    )
    .fetch_all(executor)
    .await
}

/// Parks an event that has failed, to be tried again at `retry_at`.
pub(crate) async fn fail(
    transaction: &mut PgConnection,
    event: &Logged,
    attempts: i32,
    retry_at: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into parked_events (partition, entity_id, position, received_at, attempts, retry_at, error)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (partition, entity_id, position) do update
         set attempts = excluded.attempts, retry_at = excluded.retry_at, error = excluded.error",
        i16::from(event.envelope.partition()),
        event.envelope.entity_id,
        event.position,
        event.received_at,
        attempts,
        retry_at,
        error
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Parks events behind those of their entities that are parked already.
pub(crate) async fn wait(transaction: &mut PgConnection, partition: u8, events: &[&Logged]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let entities: Vec<String> = events.iter().map(|event| event.envelope.entity_id.clone()).collect();
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    let times: Vec<DateTime<Utc>> = events.iter().map(|event| event.received_at).collect();
    sqlx::query!(
        "insert into parked_events (partition, entity_id, position, received_at, attempts, retry_at)
         select $1, e.entity_id, e.position, e.received_at, 0, 'infinity'
         from unnest($2::text[], $3::bigint[], $4::timestamptz[]) e (entity_id, position, received_at)
         on conflict do nothing",
        i16::from(partition),
        &entities,
        &positions,
        &times
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Ends the wait of an event, which is applied or dead; the next of its entity is due at once. Returns whether there is
/// one.
pub(crate) async fn done(
    transaction: &mut PgConnection,
    partition: u8,
    entity_id: &str,
    position: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query!(
        "delete from parked_events where partition = $1 and entity_id = $2 and position = $3",
        i16::from(partition),
        entity_id,
        position
    )
    .execute(&mut *transaction)
    .await?;
    let next = sqlx::query!(
        "update parked_events p set retry_at = least(p.retry_at, $3)
         where p.partition = $1 and p.entity_id = $2 and p.position =
             (select min(first.position) from parked_events first where first.partition = $1 and first.entity_id = $2)",
        i16::from(partition),
        entity_id,
        now
    )
    .execute(transaction)
    .await?;
    Ok(next.rows_affected() > 0)
}

/// Ends the wait of an event that is gone.
pub(crate) async fn drop(executor: impl PgExecutor<'_>, partition: u8, position: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (delete from parked_events where partition = $1 and position = $2 returning entity_id)
         update parked_events p set retry_at = now() from gone
         where p.partition = $1 and p.entity_id = gone.entity_id and p.position = (
             select min(next.position) from parked_events next
             where next.partition = $1 and next.entity_id = gone.entity_id and next.position <> $2)",
        i16::from(partition),
        position
    )
    .execute(executor)
    .await?;
    Ok(())
}
