//! What is said of an envelope that is none.

use std::fmt::Display;

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

impl BadEnvelope {
    /// The field is not what it must be; of what was found 100 characters are told.
    pub(crate) fn new(field: &str, found: impl Display, expected: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            found: found.to_string().chars().take(100).collect(),
            expected: expected.into(),
        }
    }
}
