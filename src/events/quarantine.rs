//! Events that no schema knows, or that theirs refuses: kept for a while, so that they can be released once it does not.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::envelope::Envelope;

/// How many are kept, and for how long.
const MOST: i64 = 10_000;
const KEPT: TimeDelta = TimeDelta::days(7);

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Quarantined {
    pub(crate) id: Uuid,
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) envelope: Box<RawValue>,
    pub(crate) violations: Box<RawValue>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Keeps events, each with what is wrong with it, a JSON array; one that is there already is kept anew. Of too many the
/// oldest go. No event may stand twice in `events`.
pub(crate) async fn keep(
    executor: impl PgExecutor<'_>,
    events: &[(&Envelope, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Envelope) -> &str| events.iter().map(|(event, _)| of(event)).collect::<Vec<_>>();
    let ids: Vec<Uuid> = events.iter().map(|_| Uuid::new_v4()).collect();
    let envelopes: Result<Vec<String>, _> = events.iter().map(|(event, _)| serde_json::to_string(event)).collect();
    let violations: Vec<&str> = events.iter().map(|(_, violations)| violations.as_str()).collect();
    sqlx::query!(
        "with surplus as (
             delete from quarantined_events where id in
                 (select id from quarantined_events order by received_at desc offset $9)
         )
         insert into quarantined_events (id, source, event_id, event_type, envelope, violations, received_at, expires_at)
         select n.id, n.source, n.event_id, n.event_type, n.envelope::json, n.violations::json, $7, $8
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
             n (id, source, event_id, event_type, envelope, violations)
         order by n.source, n.event_id
         on conflict (source, event_id) do update
         set envelope = excluded.envelope, violations = excluded.violations, received_at = excluded.received_at,
             expires_at = excluded.expires_at",
        &ids,
        &text(|event| &event.source) as &[&str],
        &text(|event| &event.event_id) as &[&str],
        &text(|event| &event.event_type) as &[&str],
        &envelopes.map_err(|error| sqlx::Error::Encode(error.into()))?,
        &violations as &[&str],
        now,
        now + KEPT,
        MOST - i64::try_from(events.len()).unwrap_or(MOST)
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The newest, at most `limit`; of one type and of one event where they are given.
pub(crate) async fn list(
    executor: impl PgExecutor<'_>,
    event_type: Option<&str>,
    event_id: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Quarantined>> {
    let rows = sqlx::query!(
        r#"select id, source, event_id, event_type, envelope::text as "envelope!", violations::text as "violations!",
               received_at, expires_at
           from quarantined_events
           where ($1::text is null or event_type = $1) and ($2::text is null or event_id = $2)
           order by received_at desc limit $3"#,
        event_type,
        event_id,
        limit
    )
    .fetch_all(executor)
    .await?;
    let raw = |text: String| RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let kept = rows.into_iter().map(|row| Quarantined {
        id: row.id,
        source: row.source,
        event_id: row.event_id,
        event_type: row.event_type,
        envelope: raw(row.envelope),
        violations: raw(row.violations),
        received_at: row.received_at,
        expires_at: row.expires_at,
    });
    Ok(kept.collect())
}

/// Takes one out, in the transaction that appends it.
pub(crate) async fn take(transaction: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let taken = sqlx::query!("delete from quarantined_events where id = $1", id)
        .execute(transaction)
        .await?;
    Ok(taken.rows_affected() > 0)
}

/// Deletes those that are past their time.
pub(crate) async fn delete_expired(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!("delete from quarantined_events where expires_at <= $1", now)
        .execute(executor)
        .await?;
    Ok(deleted.rows_affected())
}
