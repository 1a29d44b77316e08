//! Reading a request of the quarantine again, once its source's file is right.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::quarantine::{self, QuarantinedRequest};
use crate::event::envelope::Envelope;
use crate::log::audit::{self, Entry};
use crate::log::{self, Log};
use crate::rulebook::Edition;
use crate::source::Delivery;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadAgain {
    /// It could be read.
    Events {
        /// Events that are in the log now.
        new: usize,
        /// Events that were in the log before.
        known: usize,
        /// Events that their schema refuses, or their source may not send: they stay in quarantine, each by itself.
        refused: usize,
    },
    /// Somebody else has released it, or its time was over.
    Gone,
    /// The source's file cannot read it still, or there is no such file.
    Refused,
}

/// Reads the request again, as its source's file says by now, and appends its events to the log. Those that were stored
/// when it came are duplicates; those that their schema refuses stay in quarantine, each by itself.
pub(crate) async fn read_again(
    pool: &PgPool,
    edition: &Edition,
    kept: &QuarantinedRequest,
    actor: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<ReadAgain> {
    let Some(source) = edition.sources.get(&kept.source) else {
        return Ok(ReadAgain::Refused);
    };
    Log::default().make_room(pool, now).await?;
    let mut transaction = pool.begin().await?;
    let Some((headers, body)) = quarantine::request(&mut transaction, kept.id).await? else {
        return Ok(ReadAgain::Gone);
    };
    let delivery = Delivery {
        headers: &headers,
        body: &body,
        received: kept.received_at,
    };
    let Ok(items) = source.events(&delivery) else {
        return Ok(ReadAgain::Refused);
    };
    let Ok(events) = items.into_iter().collect::<Result<Vec<Envelope>, _>>() else {
        return Ok(ReadAgain::Refused);
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for event in &events {
        match edition.check(source, event) {
            Ok(()) => good.push(event),
            Err(violations) => bad.push((event, json!(violations).to_string())),
        }
    }
    bad.sort_by(|(one, _), (other, _)| one.event_id.cmp(&other.event_id));
    bad.dedup_by(|(one, _), (other, _)| one.event_id == other.event_id);
    quarantine::keep(&mut *transaction, &bad, now).await?;
    quarantine::take_request(&mut transaction, kept.id).await?;
    let detail = format!("a request of {} with {} events", kept.source, events.len());
    let entry = Entry {
        actor,
        action: "release",
        position: None,
        detail: &detail,
    };
    audit::write(&mut transaction, &entry, now).await?;
    let mut new = 0;
    if !good.is_empty() {
        let appended = log::append(&mut transaction, &good, now, now - log::KNOWN_FOR).await?;
        new = appended.iter().filter(|appended| appended.is_new).count();
    }
    transaction.commit().await?;
    Ok(ReadAgain::Events {
        new,
        known: good.len() - new,
        refused: bad.len(),
    })
}
