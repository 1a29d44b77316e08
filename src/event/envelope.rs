//! The one form of an event, whoever sent it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event_type::EventType;
use super::id::Id;
use super::partition::Partition;
use super::payload::Payload;

/// An event: who tells of it, what happened to what, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// Name of the source file that let it in.
    pub(crate) source: Arc<str>,
    /// The sender's id: the same id from the same source is the same event.
    pub(crate) event_id: Id,
    /// Such as `order.shipped`.
    pub(crate) event_type: EventType,
    /// When it happened, as the sender says.
    pub(crate) timestamp: DateTime<Utc>,
    /// What it is about, such as an order number.
    pub(crate) entity_id: Id,
    /// Whom it concerns, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<Id>,
    /// From 1.
    pub(crate) schema_version: u32,
    /// What the sender says about it, as it was written.
    pub(crate) payload: Payload,
    /// The sender's W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    /// How many events led to it, one by one, by rules that emit; 0 for one that came from outside.
    #[serde(skip)]
    pub(crate) hops: u32,
}

impl Envelope {
    /// Which partition the entity belongs to.
    pub(crate) fn partition(&self) -> Partition {
        Partition::of(&self.entity_id)
    }
}
