//! The events of a request, each good or bad, and what is said of bad ones.

use crate::event::bad_envelope::BadEnvelope;
use crate::event::envelope::Envelope;
use crate::event::event_type::{self, EventType};
use crate::json::without_place;

/// What is said where a version is none.
pub(super) const VERSION_EXPECTED: &str = "a whole number from 1";

/// A verified request that holds no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotEvents {
    /// The body is not JSON (400).
    #[error("not JSON: {message} at line {line} column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// More events than the source's limit (413).
    #[error("found {found} events, expected at most {limit}")]
    TooMany {
        /// Events in the request.
        found: usize,
        /// Events that a request may have.
        limit: usize,
    },
    /// Something else than events (415).
    #[error("content-type: found {found:?}, expected {expected}")]
    ContentType {
        /// The media type.
        found: String,
        /// Those that are taken.
        expected: &'static str,
    },
}

/// The events of a request, each good or bad.
pub(crate) type Items = Vec<Result<Envelope, BadEnvelope>>;

impl NotEvents {
    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
            message: without_place(error),
        }
    }

    pub(super) fn check_count(found: usize, limit: usize) -> Result<(), Self> {
        match found <= limit {
            true => Ok(()),
            false => Err(Self::TooMany { found, limit }),
        }
    }
}

/// A sender's type made one of ours.
pub(super) fn normal_type(text: &str) -> Result<EventType, BadEnvelope> {
    EventType::parse(event_type::normal(text))
        .map_err(|_| BadEnvelope::new("event_type", text, "words, separated by full stops, at most 250 bytes"))
}

/// A version of a schema: `1` or `1.0`.
pub(super) fn version(text: &str) -> Option<u32> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let version: i32 = whole.parse().ok()?;
    u32::try_from(version).ok().filter(|version| *version > 0)
}
