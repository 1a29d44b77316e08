//! Users: whose a conversation is, and what they follow.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{fact, preferences, subscription};

/// The session's user; its own name while nobody is identified.
pub(crate) async fn of_session(executor: impl PgExecutor<'_>, session: &str) -> sqlx::Result<String> {
    let user = sqlx::query_scalar!(
        "select user_id from rejoinder.conversations where session = $1",
        session
    )
    .fetch_optional(executor)
    .await?;
    Ok(user.unwrap_or_else(|| session.to_owned()))
}

/// The user who has verified their identity in this session, while that counts.
pub(crate) async fn verified(
    executor: impl PgExecutor<'_>,
    session: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select user_id from rejoinder.conversations where session = $1 and verified_until > $2",
        session,
        now
    )
    .fetch_optional(executor)
    .await
}

/// The session's user follows this entity from now on.
pub(crate) async fn follow(
    executor: impl PgExecutor<'_>,
    session: &str,
    entity_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.follows (entity_id, user_id, followed_at)
         values ($2, rejoinder.know_conversation($1, $3), $3)
         on conflict (entity_id, user_id) do nothing",
        session,
        entity_id,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// From now on the session is a conversation of this user, who counts as verified until then. What was kept for the
/// session while it had nobody is the user's from now on; what another user of the session had stays that user's.
pub(crate) async fn identify(
    connection: &mut PgConnection,
    session: &str,
    user_id: &str,
    verified_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.conversations (session, user_id, seen_at, verified_until) values ($1, $2, $3, $4)
         on conflict (session) do update
         set user_id = excluded.user_id, seen_at = excluded.seen_at, verified_until = excluded.verified_until",
        session,
        user_id,
        now,
        verified_until
    )
    .execute(&mut *connection)
    .await?;
    if user_id == session {
        return Ok(());
    }
    sqlx::query!(
        "with moved as (delete from rejoinder.follows where user_id = $1 returning entity_id, followed_at)
         insert into rejoinder.follows (entity_id, user_id, followed_at) select entity_id, $2, followed_at from moved
         on conflict (entity_id, user_id) do nothing",
        session,
        user_id
    )
    .execute(&mut *connection)
    .await?;
    subscription::hand_over(&mut *connection, session, user_id).await?;
    preferences::hand_over(&mut *connection, session, user_id).await?;
    fact::hand_over(connection, session, user_id).await
}

/// Erases whom the user follows; returns how many.
pub(crate) async fn forget_follows(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.follows where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}

/// Erases which conversations are the user's; returns how many.
pub(crate) async fn forget_conversations(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.conversations where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}

/// The user's conversations.
pub(crate) async fn sessions(executor: impl PgExecutor<'_>, user_id: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select session from rejoinder.conversations where user_id = $1",
        user_id
    )
    .fetch_all(executor)
    .await
}
