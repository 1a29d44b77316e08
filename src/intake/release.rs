//! Letting an event out of quarantine, into the log.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::quarantine::{self, Quarantined};
use crate::event::envelope::Envelope;
use crate::log::audit::{self, Entry};
use crate::log::{self, Log};
use crate::rulebook::Edition;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// It is in the log now.
    Stored,
    /// It was in the log already.
    Known,
    /// It is not in quarantine any more: somebody else has released it, or its time was over.
    Gone,
    /// Its schema still refuses it.
    Refused,
}

/// Appends the event to the log if its schema takes it by now, and its source may send it.
pub(crate) async fn release(
    pool: &PgPool,
    edition: &Edition,
    kept: &Quarantined,
    actor: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Released> {
    let event: Envelope = serde_json::from_str(kept.envelope.get())?;
    let is_taken = match edition.sources.get(&event.source) {
        Some(source) => edition.check(source, &event),
        // Its file is gone: whether it might send the event was asked when it was there.
        None => edition
            .catalogue
            .check(&event.event_type, event.schema_version, &event.payload),
    };
    if is_taken.is_err() {
        return Ok(Released::Refused);
    }
    Log::default().make_room(pool, now).await?;
    let mut transaction = pool.begin().await?;
    if !quarantine::take(&mut transaction, kept.id).await? {
        return Ok(Released::Gone);
    }
    let appended = log::append(&mut transaction, &[&event], now, now - log::KNOWN_FOR).await?;
    let appended = appended.first();
    let entry = Entry {
        actor,
        action: "release",
        position: appended.map(|appended| appended.position),
        detail: &kept.event_type,
    };
    audit::write(&mut transaction, &entry, now).await?;
    transaction.commit().await?;
    Ok(match appended {
        Some(appended) if !appended.is_new => Released::Known,
        Some(_) | None => Released::Stored,
    })
}
