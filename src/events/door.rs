//! The door of events: verify, validate, append; nothing else happens in the request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use tokio::time::Instant;
use tracing::{Instrument as _, debug, info_span, warn};

use super::catalogue::Violation;
use super::envelope::{BadEnvelope, Envelope};
use super::ingest::{Ingest, NotStored};
use super::log::Appended;
use super::metrics::{EventMetrics, RefusedLabel, SourceLabel};
use super::overload::Backlog;
use super::quarantine;
use super::source::{self, Handshake, NotEvents, Source, Sources};
use crate::clock::{Clock, before};
use crate::reactions::Rulebook;

/// Takes events in.
pub(crate) struct Door {
    pub(crate) sources: Sources,
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) ingest: Ingest,
    pub(crate) backlog: Backlog,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) metrics: EventMetrics,
}

/// What became of a request's events, in their order.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    /// An item for each event.
    pub(crate) events: Vec<Item>,
}

/// What became of one event.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// The sender's id, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
    /// What became of it.
    pub(crate) status: Status,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) violations: Vec<Violation>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is durable.
    Stored,
    /// It was durable already.
    Duplicate,
    /// Its schema is not known, or refuses it; it is kept for a while, to be released.
    Quarantined,
    /// It is no event.
    Invalid,
}

/// Why a request's events are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no source {0:?}")]
    UnknownSource(String),
    #[error("the source {0:?} has no secret yet")]
    NotConfigured(String),
    #[error(transparent)]
    Caller(#[from] source::Refused),
    #[error(transparent)]
    NotEvents(#[from] NotEvents),
    #[error("too many events wait to be applied; come again later")]
    Overloaded,
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

impl Refused {
    /// The code that the sender is told.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::UnknownSource(_) => "unknown_source",
            Self::NotConfigured(_) => "source_not_configured",
            Self::Caller(source::Refused::Missing(_)) => "not_signed",
            Self::Caller(source::Refused::BadSignature) => "bad_signature",
            Self::Caller(source::Refused::BadTimestamp | source::Refused::OldTimestamp { .. }) => "bad_timestamp",
            Self::Caller(source::Refused::NotConfigured) => "source_not_configured",
            Self::Caller(source::Refused::Unavailable(_)) => "unverifiable",
            Self::NotEvents(_) => "not_events",
            Self::Overloaded => "overloaded",
            Self::NotStored(_) => "not_stored",
        }
    }
}

impl Door {
    /// The source of this name, ready to verify.
    pub(crate) fn source(&self, name: &str) -> Result<&Arc<Source>, Refused> {
        let source = self.sources.get(name).ok_or_else(|| {
            self.refused("(unknown)", "unknown_source");
            Refused::UnknownSource(name.chars().take(100).collect())
        })?;
        if source.is_configured() {
            Ok(source)
        } else {
            self.refused(name, "source_not_configured");
            Err(Refused::NotConfigured(name.to_owned()))
        }
    }

    /// Answers what a sender asks before its first event, if the request is such a question.
    ///
    /// # Errors
    /// [`Refused`] when it is to be signed and is not.
    pub(crate) async fn handshake(
        &self,
        source: &Source,
        request: &source::Request<'_>,
    ) -> Result<Option<Handshake>, Refused> {
        let answer = source.handshake(request).await.map_err(Refused::from);
        answer.inspect_err(|refused| self.refused(&source.name, refused.code()))
    }

    /// Proves that a request is the source's own; its body is as it was sent.
    ///
    /// # Errors
    /// [`Refused`] when it is not proven.
    pub(crate) async fn verify(&self, source: &Source, request: &source::Request<'_>) -> Result<(), Refused> {
        match source.verify(request).await {
            Ok(verified) if verified.secret > 0 => {
                self.metrics.old_secret.get_or_create(&label(source)).inc();
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(refused) => {
                let refused = Refused::from(refused);
                self.refused(&source.name, refused.code());
                Err(refused)
            }
        }
    }

    /// Takes the events of a verified request that arrived at `arrived`.
    ///
    /// # Errors
    /// [`Refused`]; then nothing of it is known to be stored.
    pub(crate) async fn take(
        &self,
        source: &Source,
        headers: &HeaderMap,
        body: &[u8],
        arrived: Instant,
    ) -> Result<Receipt, Refused> {
        let taken = self.taken(source, headers, body, arrived).await;
        if let Err(refused) = &taken {
            self.refused(&source.name, refused.code());
        }
        taken
    }

    async fn taken(
        &self,
        source: &Source,
        headers: &HeaderMap,
        body: &[u8],
        arrived: Instant,
    ) -> Result<Receipt, Refused> {
        if !self.backlog.admits(source.priority, self.ingest.pressure()) {
            return Err(Refused::Overloaded);
        }
        let deadline = arrived + Duration::from_millis(source.limits.deadline_ms);
        let events = source.events(headers, body, self.clock.now())?;
        let label = label(source);
        self.metrics.received.get_or_create(&label).inc_by(events.len() as u64);
        let span = match events.as_slice() {
            [Ok(event)] => info_span!(
                "event",
                source = &*source.name,
                event.id = event.event_id,
                event.type = event.event_type,
                entity.id = event.entity_id,
                traceparent = event.traceparent,
            ),
            _ => info_span!("events", source = &*source.name, events = events.len()),
        };
        self.append(source, events, deadline, &label).instrument(span).await
    }

    async fn append(
        &self,
        source: &Source,
        events: Vec<Result<Envelope, BadEnvelope>>,
        deadline: Instant,
        label: &SourceLabel,
    ) -> Result<Receipt, Refused> {
        let book = self.rulebook.edition();
        let mut items = Vec::with_capacity(events.len());
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for event in events {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    self.refused(&source.name, "bad_envelope");
                    items.push(Item::invalid(&error));
                    continue;
                }
            };
            let mut item = Item {
                event_id: Some(event.event_id.clone()),
                status: Status::Stored,
                violations: Vec::new(),
            };
            match book
                .catalogue
                .check(&event.event_type, event.schema_version, &event.payload)
            {
                Ok(()) => good.push(event),
                Err(violations) => {
                    self.refused(&source.name, "schema");
                    item.status = Status::Quarantined;
                    item.violations = violations;
                    bad.push((event, items.len()));
                }
            }
            items.push(item);
        }
        // The last of those with one id: they are one event.
        let bad: BTreeMap<&str, (&Envelope, String)> = bad
            .iter()
            .map(|(event, at)| {
                (
                    event.event_id.as_str(),
                    (event, json!(items[*at].violations).to_string()),
                )
            })
            .collect();
        let bad: Vec<(&Envelope, String)> = bad.into_values().collect();
        match before(deadline, quarantine::keep(&self.pool, &bad, self.clock.now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(error = %error, "events cannot be kept in quarantine");
                return Err(NotStored::Unconfirmed.into());
            }
            Err(_) => return Err(NotStored::Unconfirmed.into()),
        }
        if !good.is_empty() {
            let appended = self.ingest.store(good, deadline).await?;
            self.count(&appended, label);
            let stored = items.iter_mut().filter(|item| item.status == Status::Stored);
            for (item, appended) in stored.zip(appended) {
                if !appended.is_new {
                    item.status = Status::Duplicate;
                }
            }
        }
        for item in &items {
            debug!(event.id = item.event_id, status = ?item.status, "taken in");
        }
        Ok(Receipt { events: items })
    }

    fn count(&self, appended: &[Appended], label: &SourceLabel) {
        let new = appended.iter().filter(|appended| appended.is_new).count();
        self.metrics.new.get_or_create(label).inc_by(new as u64);
        self.metrics
            .duplicate
            .get_or_create(label)
            .inc_by((appended.len() - new) as u64);
    }

    fn refused(&self, source: &str, reason: &'static str) {
        let label = RefusedLabel {
            source: source.to_owned(),
            reason,
        };
        self.metrics.refused.get_or_create(&label).inc();
    }
}

impl Receipt {
    /// Whether any of the events is durable, or was.
    pub(crate) fn has(&self, status: Status) -> bool {
        self.events.iter().any(|item| item.status == status)
    }
}

impl Item {
    fn invalid(error: &BadEnvelope) -> Self {
        let violation = Violation {
            pointer: format!("/{}", error.field),
            message: format!("found {}, expected {}", error.found, error.expected),
        };
        Self {
            event_id: None,
            status: Status::Invalid,
            violations: vec![violation],
        }
    }
}

fn label(source: &Source) -> SourceLabel {
    SourceLabel {
        source: source.name.to_string(),
    }
}
