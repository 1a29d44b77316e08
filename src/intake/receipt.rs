//! What a sender is told of its events.

use serde::Serialize;

use crate::event::bad_envelope::BadEnvelope;
use crate::event::catalogue::Violation;
use crate::event::id::Id;

/// What became of a request's events, in their order.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    /// An item for each event.
    pub(crate) events: Vec<Item>,
}

/// What became of one event.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// The sender's id, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<Id>,
    /// What became of it.
    pub(crate) status: Status,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) violations: Vec<Violation>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is durable.
    Stored,
    /// It was durable already.
    Duplicate,
    /// Its schema is not known, or refuses it; it is kept for a while, to be released.
    Quarantined,
    /// It is no event.
    Invalid,
}

impl Receipt {
    /// Whether any of the events is durable, or was.
    pub(crate) fn has(&self, status: Status) -> bool {
        self.events.iter().any(|item| item.status == status)
    }
}

impl Item {
    /// Of an event that is none.
    pub(super) fn invalid(error: &BadEnvelope) -> Self {
        let violation = Violation {
            pointer: format!("/{}", error.field),
            message: format!("found {}, expected {}", error.found, error.expected),
        };
        Self {
            event_id: None,
            status: Status::Invalid,
            violations: vec![violation],
        }
    }
}
