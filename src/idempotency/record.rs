//! Replies that were committed with what their turn changed, so that the same turn changes it once.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::idempotency::key::TurnKey;

/// Who runs a turn.
pub(crate) enum Claim {
    /// This transaction does.
    Ours,
    /// Another did, and this was its reply.
    Answered(Vec<u8>),
}

/// Claims the turn for this transaction, for a day. Waits while another one that claims it is open.
pub(crate) async fn claim(
    transaction: &mut PgConnection,
    key: &TurnKey,
    session: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Claim> {
    let Some(key) = &key.record else { return Ok(Claim::Ours) };
    // The conflict waits for the other transaction's end: after its commit no row is inserted, after its rollback
    // ours is.
    let claimed = sqlx::query!(
        "insert into rejoinder.turn_answers (key, session, expires_at)
         select $1, $2, $3
         -- whoever forgets the user waits for the end of this transaction
         from (select pg_advisory_xact_lock_shared(hashtext('rejoinder forgotten session'), hashtext($2))) as held
         on conflict (key) do nothing",
        key.as_slice(),
        session,
        now + TimeDelta::days(1)
    )
    .execute(&mut *transaction)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(Claim::Ours);
    }
    let body = sqlx::query_scalar!("select body from rejoinder.turn_answers where key = $1", key.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
    Ok(body.map_or(Claim::Ours, Claim::Answered))
}

/// Writes the reply of a turn that this transaction has claimed.
pub(crate) async fn save(transaction: &mut PgConnection, key: &TurnKey, body: &[u8]) -> sqlx::Result<()> {
    let Some(key) = &key.record else { return Ok(()) };
    sqlx::query!(
        "update rejoinder.turn_answers set body = $2 where key = $1",
        key.as_slice(),
        body
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Deletes replies that are past their time.
pub(crate) async fn delete_expired(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!("delete from rejoinder.turn_answers where expires_at <= $1", now)
        .execute(executor)
        .await?;
    Ok(deleted.rows_affected())
}

/// Erases the replies to turns of these conversations; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, sessions: &[String]) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.turn_answers where session = any($1)", sessions);
    Ok(erased.execute(connection).await?.rows_affected())
}
