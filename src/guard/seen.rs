//! Signed requests that were admitted: known to all replicas, and over a restart.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::time::timeout;
use tracing::warn;

use crate::postgres::Database;

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a signature can count: from five minutes early to five minutes late.
const KEPT: TimeDelta = TimeDelta::minutes(10);

/// Whether a request that was signed so is admitted for the first time. While the database does not answer, who has signed
/// one is believed: this process knows those that it has admitted itself.
pub(super) async fn first_time(database: &Database, signed: &[u8], now: DateTime<Utc>) -> bool {
    match timeout(PATIENCE, insert(database.primary(), signed, now)).await {
        Ok(Ok(is_new)) => is_new,
        Ok(Err(error)) => {
            warn!(error = %error, "a signed request is not known to other replicas");
            true
        }
        Err(_) => {
            warn!("a signed request is not known to other replicas: the database does not answer");
            true
        }
    }
}

/// Each that is added takes two of those along that count no longer, so that they do not gather.
async fn insert(pool: &PgPool, signed: &[u8], now: DateTime<Utc>) -> sqlx::Result<bool> {
    let added = sqlx::query!(
        "with old as (
             delete from rejoinder.signed_requests where signed in (
                 select signed from rejoinder.signed_requests where seen_at < $3 order by seen_at limit 2 for update skip locked
             )
         )
         insert into rejoinder.signed_requests (signed, seen_at) values ($1, $2) on conflict do nothing",
        signed,
        now,
        now - KEPT
    )
    .execute(pool)
    .await?;
    Ok(added.rows_affected() == 1)
}
