//! Subscriptions: which topics a user wants to hear of.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::outbox;

/// The session's user wants to hear of the topic from now on, or no longer does. What is held for an unwanted topic is
/// not sent.
pub(crate) async fn set(
    connection: &mut PgConnection,
    session: &str,
    topic: &str,
    opted_in: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let user = sqlx::query_scalar!(
        "insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at)
         values (rejoinder.know_conversation($1, $4), $2, $3, $4)
         on conflict (user_id, topic) do update set opted_in = excluded.opted_in, set_at = excluded.set_at
         returning user_id",
        session,
        topic,
        opted_in,
        now
    )
    .fetch_one(&mut *connection)
    .await?;
    if !opted_in {
        outbox::suppress_topic(connection, &user, topic, now).await?;
    }
    Ok(())
}

/// The topics that the session's user wants to hear of, by name.
pub(crate) async fn of_session(executor: impl PgExecutor<'_>, session: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select topic from rejoinder.subscriptions
         where user_id = coalesce((select user_id from rejoinder.conversations where session = $1), $1) and opted_in
         order by topic",
        session
    )
    .fetch_all(executor)
    .await
}

/// What was said for the session while it had nobody is the user's; what was said last counts.
pub(super) async fn hand_over(connection: &mut PgConnection, session: &str, user_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "with moved as (delete from rejoinder.subscriptions where user_id = $1 returning topic, opted_in, set_at)
         insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) select $2, topic, opted_in, set_at from moved
         on conflict (user_id, topic) do update set opted_in = excluded.opted_in, set_at = excluded.set_at
         -- what was said last counts
         where subscriptions.set_at < excluded.set_at",
        session,
        user_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Erases the user's; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.subscriptions where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}
