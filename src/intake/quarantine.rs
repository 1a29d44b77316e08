//! What was verified and not taken, kept for a while so that it can be released once the files are right: events that their
//! schema refused, and requests that the source's file could not read.

use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::event::envelope::Envelope;
use crate::source::Delivery;

/// How many events are kept, and how many requests; of these how many bytes; and for how long.
const MOST: i64 = 10_000;
const MOST_BYTES: i64 = 256 * 1024 * 1024;
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
             delete from rejoinder.quarantined_events where id in
                 (select id from rejoinder.quarantined_events order by received_at desc offset $9)
         )
         insert into rejoinder.quarantined_events (id, source, event_id, event_type, envelope, violations, received_at, expires_at)
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
           from rejoinder.quarantined_events
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
    let taken = sqlx::query!("delete from rejoinder.quarantined_events where id = $1", id)
        .execute(transaction)
        .await?;
    Ok(taken.rows_affected() > 0)
}

/// A request with events that could not be read.
pub(crate) struct Unread<'a> {
    pub(crate) source: &'a str,
    pub(crate) delivery: &'a Delivery<'a>,
    /// A JSON array.
    pub(crate) violations: String,
}

impl Unread<'_> {
    /// Keeps it, without headers that hold credentials or signatures; one that is there already is kept anew. Of too many
    /// the oldest go.
    pub(crate) async fn keep(&self, executor: impl PgExecutor<'_>) -> sqlx::Result<()> {
        let Delivery {
            headers,
            body,
            received,
        } = *self.delivery;
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(name, _)| !is_secret(name))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let headers = serde_json::to_string(&headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query!(
            "with surplus as (
                 delete from rejoinder.quarantined_requests where id in (
                     select id from (
                         select id, row_number() over newest as place, sum(octet_length(body)) over newest as bytes
                         from rejoinder.quarantined_requests window newest as (order by received_at desc, id)
                     ) kept where place >= $9 or bytes > $10
                 )
             )
             insert into rejoinder.quarantined_requests
                 (id, source, digest, headers, body, violations, received_at, expires_at)
             values ($1, $2, $3, $4::text::json, $5, $6::text::json, $7, $8)
             on conflict (source, digest) do update
             set headers = excluded.headers, violations = excluded.violations, received_at = excluded.received_at,
                 expires_at = excluded.expires_at",
            Uuid::new_v4(),
            self.source,
            &Sha256::digest(body)[..],
            headers,
            body,
            self.violations,
            received,
            received + KEPT,
            MOST,
            MOST_BYTES - i64::try_from(body.len()).unwrap_or(MOST_BYTES)
        )
        .execute(executor)
        .await?;
        Ok(())
    }
}

/// Whether a header proves who has sent the request; none of them is read again.
fn is_secret(name: &HeaderName) -> bool {
    let says_so = ["signature", "hmac", "token", "secret"];
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name)
        || says_so.iter().any(|word| name.as_str().contains(word)) && !name.as_str().contains("idempotency")
}

/// A request that is kept, without its body.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QuarantinedRequest {
    pub(crate) id: Uuid,
    pub(crate) source: String,
    pub(crate) bytes: i32,
    pub(crate) violations: Box<RawValue>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// The newest requests, at most `limit`.
pub(crate) async fn requests(executor: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<QuarantinedRequest>> {
    let rows = sqlx::query!(
        r#"select id, source, octet_length(body) as "bytes!", violations::text as "violations!", received_at, expires_at
           from rejoinder.quarantined_requests order by received_at desc, id limit $1"#,
        limit
    )
    .fetch_all(executor)
    .await?;
    let kept = rows.into_iter().map(|row| QuarantinedRequest {
        id: row.id,
        source: row.source,
        bytes: row.bytes,
        violations: RawValue::from_string(row.violations).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        received_at: row.received_at,
        expires_at: row.expires_at,
    });
    Ok(kept.collect())
}

/// Headers and body of a request; none where it is gone. It is locked until the end of the transaction.
pub(crate) async fn request(transaction: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<(HeaderMap, Vec<u8>)>> {
    let row = sqlx::query!(
        r#"select headers::text as "headers!", body from rejoinder.quarantined_requests where id = $1 for update"#,
        id
    )
    .fetch_optional(transaction)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let pairs: Vec<(String, String)> =
        serde_json::from_str(&row.headers).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    Ok(Some((headers, row.body)))
}

/// Takes a request out, in the transaction that appends its events.
pub(crate) async fn take_request(transaction: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("delete from rejoinder.quarantined_requests where id = $1", id)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Deletes those that are past their time.
pub(crate) async fn delete_expired(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let events = sqlx::query!("delete from rejoinder.quarantined_events where expires_at <= $1", now)
        .execute(pool)
        .await?;
    let requests = sqlx::query!("delete from rejoinder.quarantined_requests where expires_at <= $1", now)
        .execute(pool)
        .await?;
    Ok(events.rows_affected() + requests.rows_affected())
}

/// Erases what concerns this user; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let events = sqlx::query!(
        "delete from rejoinder.quarantined_events where envelope->>'user_id' = $1 or envelope->>'entity_id' = $1",
        user_id
    );
    let events = events.execute(&mut *connection).await?.rows_affected();
    // Whose the events of a request are that could not be read is not known: what names the user is not kept.
    let requests = sqlx::query!(
        "delete from rejoinder.quarantined_requests where position(convert_to($1, 'UTF8') in body) > 0",
        user_id
    );
    Ok(events + requests.execute(connection).await?.rows_affected())
}
