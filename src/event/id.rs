//! The ids of an envelope: of the event, of its entity, of its user.

use std::fmt::{self, Display};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::bad_envelope::BadEnvelope;

/// Ids are at most this long, in bytes.
pub(crate) const MAX: usize = 256;

/// An id: 1 to 256 bytes with no control characters. What is deserialized was stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Id(String);

impl Id {
    /// The id that `field` of an envelope holds.
    ///
    /// # Errors
    /// [`BadEnvelope`] names the field.
    pub(crate) fn parse(field: &str, text: String) -> Result<Self, BadEnvelope> {
        if is_id(&text) {
            return Ok(Self(text));
        }
        Err(BadEnvelope {
            field: field.to_owned(),
            found: format!("{:?}", text.chars().take(100).collect::<String>()),
            expected: format!("1 to {MAX} bytes with no control characters"),
        })
    }

    /// An id that is read back: it was parsed before it was stored, by the rules of its time.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether it is an id.
fn is_id(text: &str) -> bool {
    (1..=MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_short_text_without_control_characters() {
        for text in ["1", "ordér 10042", &"x".repeat(256)] {
            assert_eq!(Id::parse("entity_id", text.to_owned()).unwrap().as_str(), text);
        }
        for text in ["", "a\u{0}b", "a\nb", &"x".repeat(257)] {
            assert_eq!(Id::parse("entity_id", text.to_owned()).unwrap_err().field, "entity_id");
        }
        let error = Id::parse("event_id", "a\nb".to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"event_id: found "a\nb", expected 1 to 256 bytes with no control characters"#
        );
    }
}
