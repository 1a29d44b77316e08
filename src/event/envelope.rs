//! The one form of an event, whoever sent it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::event_type::EventType;
use super::id::Id;
use super::payload::Payload;

/// Into how many partitions entities are divided; the tables' checks say the same.
pub(crate) const PARTITIONS: u8 = 32;

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
}

impl Envelope {
    /// Which partition the entity belongs to. It never changes: what is in flight would change its order.
    pub(crate) fn partition(&self) -> u8 {
        partition_of(&self.entity_id)
    }
}

/// Which partition an entity belongs to.
pub(crate) fn partition_of(entity_id: &str) -> u8 {
    Sha256::digest(entity_id)[0] % PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_an_entity_never_changes() {
        assert_eq!(
            [partition_of("10042"), partition_of("10043"), partition_of("")],
            [12, 11, 3]
        );
    }
}
