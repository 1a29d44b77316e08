//! The names that expressions of a rule can read: what an event, memory and the other events of a join offer.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::Value;
use minijinja::value::{Object, Serde};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::event::envelope::Envelope;
use crate::event::id::Id;
use crate::event::position::Position;

/// What the expressions of a rule see. A clone is cheap, and so is one with memory or other events: the payload is
/// shared.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Vec<(&'static str, Value)>);

/// An event that a join has seen; kept as JSON until the join is complete or its time is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeenEvent {
    /// In the log.
    pub(crate) position: Position,
    /// When it was stored.
    pub(crate) received_at: DateTime<Utc>,
    /// Whether what comes of it is named by its position; so it was with those that say nothing of it.
    #[serde(default = "yes")]
    pub(crate) is_named_by_position: bool,
    /// Who sent it.
    pub(crate) source: String,
    /// The sender's id.
    pub(crate) event_id: Id,
    /// What it is about.
    pub(crate) entity_id: Id,
    /// Whom it concerns, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<Id>,
    /// When it happened, as the sender says.
    pub(crate) timestamp: DateTime<Utc>,
    /// Of the payload.
    pub(crate) schema_version: u32,
    /// The sender's W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    /// How many events led to it.
    #[serde(default)]
    pub(crate) hops: u32,
    /// Expressions see it as it stands here, so it is brought up to the newest version before.
    pub(crate) payload: serde_json::Value,
}

fn yes() -> bool {
    true
}

impl Scope {
    /// What an event offers; `payload` is its payload in the newest version.
    pub(crate) fn of_event(event: &Envelope, payload: &serde_json::Value) -> Self {
        let mut names = vec![
            ("entity_id", Value::from(event.entity_id.as_str())),
            ("event_id", Value::from(event.event_id.as_str())),
            ("event_type", Value::from(event.event_type.as_str())),
            ("source", Value::from(&*event.source)),
            ("timestamp", time(event.timestamp)),
            ("payload", Value::from(Serde(payload))),
        ];
        if let Some(user_id) = &event.user_id {
            names.push(("user_id", Value::from(user_id.as_str())));
        }
        Self(names)
    }

    /// What a join offers whose time is over: `missing` are the types that have not come.
    pub(crate) fn of_timeout(
        entity_id: &str,
        key: &str,
        seen: &BTreeMap<String, SeenEvent>,
        missing: &[String],
    ) -> Self {
        let names = vec![
            ("entity_id", Value::from(entity_id)),
            ("key", Value::from(key)),
            ("missing", Value::from(Serde(missing))),
        ];
        Self(names).with_events(seen)
    }

    /// With the facts about the event's entity; one that is not known is `none`.
    pub(crate) fn with_memory(&self, facts: Map<String, serde_json::Value>) -> Self {
        let facts = facts
            .into_iter()
            .map(|(name, value)| (name, Value::from(Serde(value))))
            .collect();
        self.with("memory", Value::from_object(Facts(facts)))
    }

    /// With the events that a join has seen, the one that completes it among them.
    pub(crate) fn with_events(&self, seen: &BTreeMap<String, SeenEvent>) -> Self {
        let events = Value::from_pairs(seen.iter().map(|(event_type, event)| {
            let user_id = event.user_id.as_deref().map(|user| ("user_id", Value::from(user)));
            let names = [
                ("event_type", Value::from(event_type.as_str())),
                ("event_id", Value::from(event.event_id.as_str())),
                ("entity_id", Value::from(event.entity_id.as_str())),
                ("timestamp", time(event.timestamp)),
                ("payload", Value::from(Serde(&event.payload))),
            ];
            (event_type.as_str(), Value::from_pairs(names.into_iter().chain(user_id)))
        }));
        self.with("events", events)
    }

    /// As minijinja takes it.
    pub(super) fn names(&self) -> Value {
        Value::from_object(Names(self.0.clone()))
    }

    fn with(&self, name: &'static str, value: Value) -> Self {
        let mut names = self.0.clone();
        names.retain(|(other, _)| *other != name);
        names.push((name, value));
        Self(names)
    }
}

/// RFC 3339, in UTC.
fn time(time: DateTime<Utc>) -> Value {
    Value::from(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[derive(Debug)]
struct Names(Vec<(&'static str, Value)>);

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let (_, value) = self.0.iter().find(|(name, _)| *name == key)?;
        Some(value.clone())
    }
}

#[derive(Debug)]
struct Facts(BTreeMap<String, Value>);

impl Object for Facts {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(self.0.get(key).cloned().unwrap_or_else(|| Value::from(())))
    }
}
