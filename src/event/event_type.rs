//! What a type of events is called: the one grammar of schemas, sources, rules and senders.

use std::fmt::{self, Display};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Types are at most this long, in bytes: a type names the directory of its schemas.
const MAX: usize = 250;

/// What a type is, for error messages.
pub(crate) const EXPECTED: &str = "lower-case words of [a-z0-9_-], separated by full stops, at most 250 bytes";

/// A type, such as `order.shipped`. What is deserialized was stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EventType(String);

impl EventType {
    /// The type that is called so.
    ///
    /// # Errors
    /// Gives the text back when it is no type.
    pub(crate) fn parse(text: String) -> Result<Self, String> {
        if is_type(&text) { Ok(Self(text)) } else { Err(text) }
    }

    /// A type that is read back: it was parsed before it was stored, by the grammar of its time.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// Its name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for EventType {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.0
    }
}

impl Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_type(text: &str) -> bool {
    text.len() <= MAX && text.split('.').all(|word| !word.is_empty() && is_of_letters(word))
}

/// A sender's type in our letters: lower-case, and `_` for what a type cannot hold.
pub(crate) fn normal(text: &str) -> String {
    let letters = text.chars().map(|c| match c.to_ascii_lowercase() {
        c if is_letter(c) || c == '.' => c,
        _ => '_',
    });
    letters.collect()
}

fn is_of_letters(word: &str) -> bool {
    word.chars().all(is_letter)
}

fn is_letter(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_is_words_separated_by_full_stops() {
        for text in ["order", "order.shipped", "com.example.order-2_b"] {
            assert!(is_type(text), "{text}");
        }
        for text in [
            "",
            "Order.Odd",
            "order..shipped",
            ".order",
            "order.",
            "order shipped",
            "ordér",
        ] {
            assert!(!is_type(text), "{text}");
        }
        assert!(is_type(&"x".repeat(250)) && !is_type(&"x".repeat(251)));
    }

    #[test]
    fn foreign_type_is_written_in_our_letters() {
        assert_eq!(normal("Order/Shipped (2).x"), "order_shipped__2_.x");
    }
}
