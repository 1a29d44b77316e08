//! What a platform says of a body that is no turn of its own.

use super::json::BadJson;

/// A body that is not a turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotATurn {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] BadJson),
    /// JSON, but a field of the turn is missing or of another kind.
    #[error("{field}: found {found}, expected {expected}")]
    Field {
        /// Path of the field, `queryResult.intent`.
        field: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
}
