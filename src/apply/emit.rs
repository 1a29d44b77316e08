//! Events that rules emit.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::fate::{Failure, RuleOutcome};
use crate::effect::Effect;
use crate::event::envelope::Envelope;
use crate::log::Logged;
use crate::rulebook::Edition;

/// How often an event may lead to another one: rules that emit in a circle end here.
const MAX_HOPS: u32 = 16;

/// The source of events that reactions emit.
pub(crate) const EMITTED: &str = "rejoinder";

/// The events that these outcomes emit. Their ids are made of what led to them, so each is stored once however often it
/// is applied.
pub(super) fn emitted_by(
    event: &Logged,
    outcomes: &[RuleOutcome],
    book: &Edition,
    now: DateTime<Utc>,
) -> Result<Vec<Envelope>, Failure> {
    let hops = hops(&event.envelope) + 1;
    let mut emitted = Vec::new();
    for outcome in outcomes {
        let failure = |event_type: &str, problem: &dyn Display| {
            Failure::of(&outcome.rule, format!("rule {}: {event_type}{problem}", outcome.rule))
        };
        for (index, effect) in outcome.effects.iter().enumerate() {
            let Effect::Emit {
                event_type,
                entity_id,
                schema_version,
                payload,
            } = effect
            else {
                continue;
            };
            if hops > MAX_HOPS {
                return Err(failure(event_type, &" is emitted in a circle"));
            }
            let seed = format!("{}/{}/{index}", event.name(), outcome.label());
            let emit = Envelope {
                source: EMITTED.into(),
                event_id: format!("{}.{hops}", Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes())),
                event_type: event_type.clone(),
                timestamp: now,
                entity_id: entity_id.clone(),
                user_id: event.envelope.user_id.clone(),
                schema_version: *schema_version,
                payload: serde_json::value::to_raw_value(payload)
                    .map_err(|error| failure(event_type, &format_args!(": {error}")))?,
                traceparent: event.envelope.traceparent.clone(),
            };
            emit.check()
                .map_err(|error| failure(event_type, &format_args!(": {error}")))?;
            if let Err(violations) = book.catalogue.check(event_type, *schema_version, &emit.payload) {
                let violations: Vec<String> = violations
                    .iter()
                    .map(|violation| format!("{}: {}", violation.pointer, violation.message))
                    .collect();
                return Err(failure(event_type, &format_args!(": {}", violations.join("; "))));
            }
            emitted.push(emit);
        }
    }
    Ok(emitted)
}

/// How many events led to this one.
fn hops(event: &Envelope) -> u32 {
    let id = event.event_id.as_str();
    let hops = (&*event.source == EMITTED).then(|| id.rsplit_once('.')?.1.parse().ok());
    hops.flatten().unwrap_or(0)
}
