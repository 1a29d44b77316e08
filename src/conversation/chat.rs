//! The chat window's messages: said in the order of their commit, so that a reader never skips one.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use tracing::{debug, debug_span};
use uuid::Uuid;

use super::outbox::{self, Became, MessageBody};
use crate::session::session_id;
use crate::telemetry::traces::{SPANS, follow};

/// Tells the replicas that something was said.
pub(super) const CHANNEL: &str = "rejoinder_chat";

/// At most so many rows are sent in one transaction.
const BATCH: i64 = 500;

/// Messages of longer ago are deleted.
const KEPT: TimeDelta = TimeDelta::days(30);

/// A message as the stream gives it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChatMessage {
    #[serde(skip)]
    pub(super) position: i64,
    #[serde(serialize_with = "outbox::text_of_id")]
    pub(super) id: Uuid,
    pub(super) text: String,
    pub(super) topic: Option<String>,
    pub(super) event_id: String,
    pub(super) sent_at: DateTime<Utc>,
}

/// Says what is due, in one transaction; returns how many messages were sent and whether more may be due.
pub(super) async fn send(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<(u64, bool)> {
    let mut transaction = pool.begin().await?;
    // Held to the commit: positions become visible in their order.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('rejoinder chat')), rejoinder.keep_positions_ahead()")
        .execute(&mut *transaction)
        .await?;
    let due = outbox::due_chat(&mut *transaction, now, BATCH).await?;
    if due.is_empty() {
        return Ok((0, false));
    }
    let rows: Vec<(Uuid, Became)> = due.iter().map(|row| (row.id, Became::Sent)).collect();
    let more = rows.len() as i64 == BATCH;
    for row in &due {
        let told = |name: &str| row.body[name].as_str();
        let session = row.session.as_deref().map(session_id);
        let span = debug_span!(target: SPANS, "say", event.id = told("event_id"), session.id = session);
        follow(&span, || row.traceparent.as_deref());
        span.in_scope(|| {
            debug!(
                outbox.id = %row.id,
                event.id = told("event_id"),
                event.type = told("event_type"),
                entity.id = told("entity_id"),
                session.id = session,
                traceparent = row.traceparent,
                "said"
            );
        });
    }
    let mut new = NewMessages::default();
    let mut digests: HashMap<(String, Option<String>), usize> = HashMap::new();
    for row in due {
        let body: MessageBody = serde_json::from_value(row.body).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let session = row.session.unwrap_or_default();
        if row.is_digest {
            let digest = digests.entry((session.clone(), row.user_id));
            if let std::collections::hash_map::Entry::Occupied(at) = &digest {
                let text = &mut new.texts[*at.get()];
                text.push('\n');
                text.push_str(&body.text);
                continue;
            }
            digest.or_insert(new.ids.len());
        }
        new.ids.push(row.id);
        new.sessions.push(session);
        new.topics.push(row.topic);
        new.texts.push(body.text);
        new.event_ids.push(body.event_id);
    }
    sqlx::query!(
        "insert into rejoinder.chat_messages (position, id, session, topic, text, event_id, sent_at)
         select nextval('rejoinder.chat_positions'), n.id, n.session, n.topic, n.text, n.event_id, $6
         from (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality
                 as u (id, session, topic, text, event_id, at)
             order by at
         ) n
         on conflict (id) do nothing",
        &new.ids,
        &new.sessions,
        new.topics.as_slice() as &[Option<String>],
        &new.texts,
        &new.event_ids,
        now
    )
    .execute(&mut *transaction)
    .await?;
    outbox::settle(&mut *transaction, &rows, now).await?;
    transaction.commit().await?;
    // After the commit, and one for all.
    sqlx::query!("select pg_notify($1, '')", CHANNEL).execute(pool).await?;
    Ok((new.ids.len() as u64, more))
}

#[derive(Default)]
struct NewMessages {
    ids: Vec<Uuid>,
    sessions: Vec<String>,
    topics: Vec<Option<String>>,
    texts: Vec<String>,
    event_ids: Vec<String>,
}

/// The position of the last message; whoever reads from there on misses none.
pub(super) async fn last(executor: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "last!" from rejoinder.chat_messages"#)
        .fetch_one(executor)
        .await
}

/// Which conversations messages after `position` are in, in order, with their positions.
pub(super) async fn sessions_after(
    executor: impl PgExecutor<'_>,
    position: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        "select position, session from rejoinder.chat_messages where position > $1 order by position limit $2",
        position,
        limit
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.position, row.session)).collect())
}

/// The conversation's messages after `position`.
pub(super) async fn after(
    executor: impl PgExecutor<'_>,
    session: &str,
    position: i64,
    limit: i64,
) -> sqlx::Result<Vec<ChatMessage>> {
    sqlx::query_as!(
        ChatMessage,
        "select position, id, text, topic, event_id, sent_at from rejoinder.chat_messages
         where session = $1 and position > $2 order by position limit $3",
        session,
        position,
        limit
    )
    .fetch_all(executor)
    .await
}

/// Deletes what nobody can want to read any more.
pub(super) async fn delete_old(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("delete from rejoinder.chat_messages where sent_at < $1", now - KEPT)
        .execute(executor)
        .await?;
    Ok(())
}

/// Erases what was said in these conversations; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, sessions: &[String]) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.chat_messages where session = any($1)", sessions);
    Ok(erased.execute(connection).await?.rows_affected())
}
