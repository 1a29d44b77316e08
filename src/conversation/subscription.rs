//! Subscriptions: which topics a user wants to hear of.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

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
        "with known as (
             insert into rejoinder.conversations (session, user_id, seen_at) values ($1, $1, $4)
             on conflict (session) do update set seen_at = excluded.seen_at
             returning user_id
         )
         insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) select user_id, $2, $3, $4 from known
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
        sqlx::query!(
            "update rejoinder.outbox set state = 'suppressed', reason = 'opted out', done_at = $3
             where user_id = $1 and topic = $2 and state in ('pending', 'held')",
            user,
            topic,
            now
        )
        .execute(connection)
        .await?;
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
