//! Receiving what sources deliver, however it comes: verify, validate, append; nothing else happens while the sender waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, info_span, warn};

use super::ingest::{Ingest, NotStored};
use super::overload::Backlog;
use super::quarantine::{self, Unread};
use super::receipt::{Item, Receipt, Status};
use crate::clock::{Clock, before};
use crate::event::catalogue::Violation;
use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::metrics::{EventMetrics, SourceLabel};
use crate::log::{self, Appended};
use crate::refusals::Refusals;
use crate::rulebook::{Edition, Rulebook};
use crate::source::{self, Delivery, Items, NotEvents, Source};
use crate::telemetry::traces;

/// Takes events in.
pub(crate) struct Reception {
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) ingest: Ingest,
    pub(crate) backlog: Backlog,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) metrics: EventMetrics,
    pub(crate) refusals: Refusals,
}

/// Of so many events it is kept what is wrong with them, in quarantine.
const MOST_VIOLATIONS: usize = 100;

/// The source that a request is said to be of, with the edition of the files by which it is judged from its beginning to
/// its end.
pub(crate) struct Presumed {
    pub(crate) source: Arc<Source>,
    edition: Arc<Edition>,
}

/// The source that a request is proven to be of: what it delivers may be taken. Nothing but [`Reception::verify`] makes one.
pub(crate) struct Verified<'a>(&'a Presumed);

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

impl Reception {
    /// The source of this name, ready to verify.
    ///
    /// # Errors
    /// [`Refused`] when there is none, or it is not set up.
    pub(crate) fn source(&self, name: &str) -> Result<Presumed, Refused> {
        let edition = self.rulebook.edition();
        let source = edition.sources.get(name);
        let source = source.ok_or_else(|| Refused::UnknownSource(name.chars().take(100).collect()))?;
        if !source.is_configured() {
            return Err(Refused::NotConfigured(name.to_owned()));
        }
        Ok(Presumed {
            source: Arc::clone(source),
            edition,
        })
    }

    /// Proves that a request is the source's own; its body is as it was sent.
    ///
    /// # Errors
    /// [`Refused`] when it is not proven.
    pub(crate) async fn verify<'a>(
        &self,
        presumed: &'a Presumed,
        request: &source::Request<'_>,
    ) -> Result<Verified<'a>, Refused> {
        let source = &presumed.source;
        let verified = source.verify(request).await?;
        if verified.secret > 0 {
            self.metrics.old_secret.get_or_create(&label(source)).inc();
        }
        Ok(Verified(presumed))
    }

    /// Takes the events of what a source has delivered, whose sender waits since `arrived`.
    ///
    /// # Errors
    /// [`Refused`]; then nothing of it is known to be stored.
    pub(crate) async fn take(
        &self,
        verified: Verified<'_>,
        delivery: &Delivery<'_>,
        arrived: Instant,
    ) -> Result<Receipt, Refused> {
        let Verified(presumed) = verified;
        let source = &presumed.source;
        if !self.backlog.admits(source.priority, self.ingest.pressure()) {
            return Err(Refused::Overloaded);
        }
        let deadline = arrived + Duration::from_millis(source.limits.deadline_ms);
        let mut events = source.events(delivery)?;
        let label = label(source);
        self.metrics.received.get_or_create(&label).inc_by(events.len() as u64);
        let span = match events.as_slice() {
            [Ok(event)] => info_span!(
                "event",
                source = &*source.name,
                event.id = event.event_id.as_str(),
                event.type = event.event_type.as_str(),
                entity.id = event.entity_id.as_str(),
                traceparent = event.traceparent,
            ),
            _ => info_span!("events", source = &*source.name, events = events.len()),
        };
        continue_traces(&span, &mut events);
        let kept = self.append(presumed, delivery, deadline, events, &label);
        kept.instrument(span).await
    }

    async fn append(
        &self,
        presumed: &Presumed,
        delivery: &Delivery<'_>,
        deadline: Instant,
        events: Items,
        label: &SourceLabel,
    ) -> Result<Receipt, Refused> {
        let Presumed { source, edition } = presumed;
        let mut items = Vec::with_capacity(events.len());
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for event in events {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    let detail = format!("{}: expected {}", error.field, error.expected);
                    self.refuse_event(&source.name, "bad_envelope", &detail);
                    items.push(Item::invalid(&error));
                    continue;
                }
            };
            let mut item = Item {
                event_id: Some(event.event_id.clone()),
                status: Status::Stored,
                violations: Vec::new(),
            };
            match edition.check(source, &event) {
                Ok(()) => good.push(event),
                Err(violations) => {
                    let first = violations
                        .first()
                        .map(|first| format!("{}: {}", first.pointer, first.message));
                    self.refuse_event(&source.name, "schema", &first.unwrap_or_default());
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
        let keep = async {
            quarantine::keep(&self.pool, &bad, delivery.received).await?;
            if let Some(unread) = unread(source, delivery, &items) {
                unread.keep(&self.pool).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        match before(deadline, keep).await {
            Ok(Ok(())) => {
                let kept = items.iter().filter(|item| item.status != Status::Stored).count();
                if kept > 0 {
                    self.metrics.quarantined.get_or_create(label).inc_by(kept as u64);
                }
            }
            Ok(Err(error)) => {
                warn!(error = %error, "events cannot be kept in quarantine");
                return Err(NotStored::Unconfirmed.into());
            }
            Err(_) => return Err(NotStored::Unconfirmed.into()),
        }
        if !good.is_empty() {
            let types: Vec<EventType> = good.iter().map(|event| event.event_type.clone()).collect();
            let appended = self.ingest.store(good, deadline).await?;
            self.count(&appended, label);
            let mut repeated = Vec::new();
            let stored = items.iter_mut().filter(|item| item.status == Status::Stored);
            for ((item, appended), event_type) in stored.zip(appended).zip(types) {
                if !appended.is_new {
                    item.status = Status::Duplicate;
                    repeated.extend(item.event_id.clone().map(|id| (id, event_type)));
                }
            }
            if !source.type_is_signed() {
                self.look_at_types(source, &repeated, deadline).await;
            }
        }
        for item in &items {
            debug!(event.id = item.event_id.as_deref(), status = ?item.status, "taken in");
        }
        Ok(Receipt { events: items })
    }

    fn count(&self, appended: &[Appended], label: &SourceLabel) {
        let new = appended.iter().filter(|appended| appended.is_new).count();
        self.backlog.add(new as u64);
        self.metrics.new.get_or_create(label).inc_by(new as u64);
        self.metrics
            .duplicate
            .get_or_create(label)
            .inc_by((appended.len() - new) as u64);
    }

    /// Tells of events that came before as another type. Where a provider does not sign the type, somebody may have
    /// changed it, or the provider tells of one thing in two ways.
    async fn look_at_types(&self, source: &Source, repeated: &[(Id, EventType)], deadline: Instant) {
        if repeated.is_empty() {
            return;
        }
        let ids: Vec<&str> = repeated.iter().map(|(id, _)| id.as_str()).collect();
        let known = match before(deadline, log::types_of(&self.pool, &source.name, &ids)).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => return debug!(error = %error, "types of repeated events cannot be read"),
            Err(_) => return debug!("types of repeated events cannot be read in time"),
        };
        for (id, found) in repeated {
            if let Some(first) = known.get(id.as_str()).filter(|first| *first != found.as_str()) {
                let detail = format!("found {found}, but the same body came as {first}, and is one event");
                self.refuse_event(&source.name, "another_type", &detail);
            }
        }
    }

    /// Counts and logs that an event of a verified request is not taken.
    fn refuse_event(&self, source: &str, reason: &'static str, detail: &str) {
        self.refusals.of_source(source, reason, 1, detail);
    }
}

/// What was delivered as it is kept where any of its events could not be read.
fn unread<'a>(source: &'a Source, delivery: &'a Delivery<'a>, items: &[Item]) -> Option<Unread<'a>> {
    let invalid = items.iter().filter(|item| item.status == Status::Invalid);
    let violations: Vec<&Violation> = invalid
        .flat_map(|item| &item.violations)
        .take(MOST_VIOLATIONS)
        .collect();
    if violations.is_empty() {
        return None;
    }
    Some(Unread {
        source: &source.name,
        delivery,
        violations: json!(violations).to_string(),
    })
}

/// What comes of an event goes on with the trace that it came with, or else with this request's.
fn continue_traces(span: &Span, events: &mut Items) {
    if let [Ok(event)] = events.as_mut_slice() {
        traces::follow(span, || event.traceparent.as_deref());
        event.traceparent = traces::traceparent(span).or_else(|| event.traceparent.take());
        return;
    }
    for event in events.iter_mut().flatten().filter(|event| event.traceparent.is_none()) {
        event.traceparent = traces::traceparent(span);
    }
}

fn label(source: &Source) -> SourceLabel {
    SourceLabel {
        source: source.name.to_string(),
    }
}
