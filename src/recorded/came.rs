//! What a service has answered a recorded turn.

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Came {
    /// Its HTTP status.
    pub(crate) status: u16,
    /// Its JSON; a string where it is none.
    pub(crate) body: Value,
}
