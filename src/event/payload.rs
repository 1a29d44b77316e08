//! What a sender says about an event, as it was written.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bad_envelope::BadEnvelope;

/// A payload's arrays and objects are at most so deep: what is deeper can neither be read again nor be stored.
const MAX_DEPTH: usize = 100;

/// A JSON text of at most 100 levels. What is deserialized was stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Payload(Box<RawValue>);

impl Payload {
    /// The payload of an envelope.
    ///
    /// # Errors
    /// [`BadEnvelope`] when it is too deep.
    pub(crate) fn parse(json: Box<RawValue>) -> Result<Self, BadEnvelope> {
        let text = json.get();
        let opened = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        // It is as deep as that at most.
        let depth = if opened > MAX_DEPTH { depth(text) } else { opened };
        if depth > MAX_DEPTH {
            let found = format!("{depth} levels");
            return Err(BadEnvelope::new("payload", found, format!("at most {MAX_DEPTH}")));
        }
        Ok(Self(json))
    }

    /// A payload that is read back: it was parsed before it was stored.
    pub(crate) fn stored(json: Box<RawValue>) -> Self {
        Self(json)
    }
}

impl Deref for Payload {
    type Target = RawValue;

    fn deref(&self) -> &RawValue {
        &self.0
    }
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
}
