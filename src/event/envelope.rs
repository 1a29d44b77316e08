//! The one form of an event, whoever sent it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Ids and types are at most this long, in bytes.
pub(crate) const MAX_ID: usize = 256;

/// A payload's arrays and objects are at most so deep: what is deeper can neither be read again nor be stored.
const MAX_DEPTH: usize = 100;

/// Into how many partitions entities are divided; the tables' checks say the same.
pub(crate) const PARTITIONS: u8 = 32;

/// An event: who tells of it, what happened to what, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// Name of the source file that let it in.
    pub(crate) source: Arc<str>,
    /// The sender's id: the same id from the same source is the same event.
    pub(crate) event_id: String,
    /// Such as `order.shipped`.
    pub(crate) event_type: String,
    /// When it happened, as the sender says.
    pub(crate) timestamp: DateTime<Utc>,
    /// What it is about, such as an order number.
    pub(crate) entity_id: String,
    /// Whom it concerns, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<String>,
    /// From 1.
    pub(crate) schema_version: u32,
    /// What the sender says about it, as it was written.
    pub(crate) payload: Box<RawValue>,
    /// The sender's W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
}

/// A field of an envelope that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub(crate) struct BadEnvelope {
    /// JSON pointer or name of the field.
    pub(crate) field: String,
    /// What stands there, shortened.
    pub(crate) found: String,
    /// What should.
    pub(crate) expected: String,
}

impl Envelope {
    /// Checks what every envelope must be: ids and type of 1 to 256 bytes with no control characters, and a payload of
    /// at most 100 levels.
    ///
    /// # Errors
    /// [`BadEnvelope`] names the field.
    pub(crate) fn check(&self) -> Result<(), BadEnvelope> {
        let user_id = self.user_id.as_deref().map(|user| ("user_id", user));
        let required = [
            ("event_id", self.event_id.as_str()),
            ("event_type", self.event_type.as_str()),
            ("entity_id", self.entity_id.as_str()),
        ];
        for (field, value) in required.into_iter().chain(user_id) {
            if value.is_empty() || value.len() > MAX_ID || value.chars().any(char::is_control) {
                return Err(BadEnvelope {
                    field: field.to_owned(),
                    found: format!("{:?}", value.chars().take(100).collect::<String>()),
                    expected: format!("1 to {MAX_ID} bytes with no control characters"),
                });
            }
        }
        let payload = self.payload.get();
        let opened = payload.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        // It is as deep as that at most.
        let depth = if opened > MAX_DEPTH { depth(payload) } else { opened };
        if depth > MAX_DEPTH {
            return Err(BadEnvelope {
                field: "payload".to_owned(),
                found: format!("{depth} levels"),
                expected: format!("at most {MAX_DEPTH}"),
            });
        }
        Ok(())
    }

    /// Which partition the entity belongs to. It never changes: what is in flight would change its order.
    pub(crate) fn partition(&self) -> u8 {
        partition_of(&self.entity_id)
    }
}

/// Which partition an entity belongs to.
pub(crate) fn partition_of(entity_id: &str) -> u8 {
    Sha256::digest(entity_id)[0] % PARTITIONS
}

/// How deep the arrays and objects of a JSON text are.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_levels_and_not_what_stands_in_strings() {
        assert_eq!(depth("7"), 0);
        assert_eq!(depth(r#"{"a": [{}, [1]], "b": "[[[[\"[[[["}"#), 3);
    }

    #[test]
    fn partition_of_an_entity_never_changes() {
        assert_eq!(
            [partition_of("10042"), partition_of("10043"), partition_of("")],
            [12, 11, 3]
        );
    }
}
