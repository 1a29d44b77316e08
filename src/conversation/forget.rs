//! Forgetting a user: what is kept of them is erased, wherever it is.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::events::PARTITIONS;
use crate::postgres::Database;

/// How many rows of each kind were erased; all 0 for a user of whom nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Forgotten {
    pub(crate) facts: u64,
    pub(crate) follows: u64,
    pub(crate) subscriptions: u64,
    pub(crate) preferences: u64,
    pub(crate) conversations: u64,
    pub(crate) gotos: u64,
    pub(crate) messages: u64,
    pub(crate) chat_messages: u64,
    pub(crate) replies: u64,
    pub(crate) events: u64,
    pub(crate) outcomes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) quarantined: u64,
    pub(crate) joins: u64,
}

/// Erases what is kept of `user_id`, in one transaction; `actor` is who wants it. A session that has nobody is forgotten
/// by its full name. What stays is that events came and messages went out, without what was in them, and an entry in
/// the audit trail with the counts.
///
/// # Errors
/// When the database refuses; nothing is forgotten then.
pub(crate) async fn forget(
    database: &Database,
    user_id: &str,
    actor: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Forgotten> {
    let mut transaction = database.primary().begin().await?;
    let connection = &mut *transaction;
    let mut sessions = sqlx::query_scalar!(
        "select session from conversations where user_id = $1 for update",
        user_id
    )
    .fetch_all(&mut *connection)
    .await?;
    // One that nobody was identified in may have no row.
    if !sessions.iter().any(|session| session == user_id) {
        sessions.push(user_id.to_owned());
    }
    let positions = positions(connection, user_id, &sessions).await?;
    let mut forgotten = Forgotten::default();
    conversations(connection, user_id, &sessions, now, &mut forgotten).await?;
    events(connection, user_id, &positions, &mut forgotten).await?;
    // The trail tells whom, to those who know whom to look for.
    let subject = hex::encode(&Sha256::digest(user_id)[..8]);
    let counts = serde_json::to_string(&forgotten).unwrap_or_default();
    sqlx::query!(
        "insert into event_audit (at, actor, action, detail) values ($1, $2, 'forget', $3)",
        now,
        actor,
        format!("user sha256:{subject}: {counts}")
    )
    .execute(&mut *connection)
    .await?;
    transaction.commit().await?;
    Ok(forgotten)
}

/// The events that concern the user: by their own word, or because they led to something that is kept of the user.
async fn positions(connection: &mut PgConnection, user_id: &str, sessions: &[String]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"select position as "position!" from event_log where user_id = $1 or entity_id = $1
           union
           select position from facts
           where position is not null and ((scope = 'user' and subject = $1) or (scope = 'session' and subject = any($2)))
           union
           select position from outbox where user_id = $1
           union
           select position from gotos where session = any($2)"#,
        user_id,
        sessions
    )
    .fetch_all(connection)
    .await
}

async fn conversations(
    connection: &mut PgConnection,
    user_id: &str,
    sessions: &[String],
    now: DateTime<Utc>,
    forgotten: &mut Forgotten,
) -> sqlx::Result<()> {
    let facts = sqlx::query!(
        "delete from facts
         where (scope in ('user', 'entity') and subject = $1) or (scope = 'session' and subject = any($2))",
        user_id,
        sessions
    );
    forgotten.facts += facts.execute(&mut *connection).await?.rows_affected();
    let follows = sqlx::query!("delete from follows where user_id = $1", user_id);
    forgotten.follows = follows.execute(&mut *connection).await?.rows_affected();
    let subscriptions = sqlx::query!("delete from subscriptions where user_id = $1", user_id);
    forgotten.subscriptions = subscriptions.execute(&mut *connection).await?.rows_affected();
    let preferences = sqlx::query!("delete from preferences where user_id = $1", user_id);
    forgotten.preferences = preferences.execute(&mut *connection).await?.rows_affected();
    let gotos = sqlx::query!("delete from gotos where session = any($1)", sessions);
    forgotten.gotos = gotos.execute(&mut *connection).await?.rows_affected();
    let messages = sqlx::query!(
        "update outbox set body = '{}', user_id = null, session = null,
             state = case when state in ('pending', 'held') then 'suppressed' else state end,
             reason = case when state in ('pending', 'held') then 'forgotten' else reason end,
             done_at = coalesce(done_at, $3)
         where user_id = $1 or session = any($2)",
        user_id,
        sessions,
        now
    );
    forgotten.messages = messages.execute(&mut *connection).await?.rows_affected();
    let chat = sqlx::query!("delete from chat_messages where session = any($1)", sessions);
    forgotten.chat_messages = chat.execute(&mut *connection).await?.rows_affected();
    let late = sqlx::query!("delete from late_replies where session = any($1)", sessions);
    let late = late.execute(&mut *connection).await?.rows_affected();
    let answers = sqlx::query!("delete from turn_answers where session = any($1)", sessions);
    forgotten.replies = late + answers.execute(&mut *connection).await?.rows_affected();
    let conversations = sqlx::query!("delete from conversations where user_id = $1", user_id);
    forgotten.conversations = conversations.execute(&mut *connection).await?.rows_affected();
    Ok(())
}

async fn events(
    connection: &mut PgConnection,
    user_id: &str,
    positions: &[i64],
    forgotten: &mut Forgotten,
) -> sqlx::Result<()> {
    let partitions: Vec<i16> = (0..i16::from(PARTITIONS)).collect();
    let facts = sqlx::query!(
        "delete from facts where scope = 'entity' and position = any($1)",
        positions
    );
    forgotten.facts += facts.execute(&mut *connection).await?.rows_affected();
    let events = sqlx::query!(
        "update event_log set payload = null, user_id = null
         -- by the partition, too: that is what the index is on
         where partition = any($1) and position = any($2) and (payload is not null or user_id is not null)",
        &partitions,
        positions
    );
    forgotten.events = events.execute(&mut *connection).await?.rows_affected();
    let outcomes = sqlx::query!("delete from event_outcomes where position = any($1)", positions);
    forgotten.outcomes = outcomes.execute(&mut *connection).await?.rows_affected();
    let calls = sqlx::query!(
        "update outbox set body = '{}',
             state = case when state in ('pending', 'held') then 'suppressed' else state end,
             reason = case when state in ('pending', 'held') then 'forgotten' else reason end
         where position = any($1) and channel = 'call' and body::text <> '{}'",
        positions
    );
    forgotten.messages += calls.execute(&mut *connection).await?.rows_affected();
    let dead = sqlx::query!(
        "update dead_letters set payload = null, error = 'erased'
         where position = any($1) and (payload is not null or error <> 'erased')",
        positions
    );
    forgotten.dead_letters = dead.execute(&mut *connection).await?.rows_affected();
    sqlx::query!(
        "update parked_events set error = 'erased' where position = any($1) and error is not null",
        positions
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update event_audit set detail = 'erased' where action = 'dead' and position = any($1)",
        positions
    )
    .execute(&mut *connection)
    .await?;
    let quarantined = sqlx::query!(
        "delete from quarantined_events where envelope->>'user_id' = $1 or envelope->>'entity_id' = $1",
        user_id
    );
    forgotten.quarantined = quarantined.execute(&mut *connection).await?.rows_affected();
    let joins = sqlx::query!(
        "update event_joins j set seen = (
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
        positions
    );
    forgotten.joins = joins.execute(connection).await?.rows_affected();
    Ok(())
}
