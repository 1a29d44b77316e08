//! What is decided on a message, and where that leaves it: the one place that knows what the table calls both.

use chrono::{DateTime, Utc};

/// What is to happen with a message or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is sent at once.
    Send,
    /// It is sent later.
    Hold { until: DateTime<Utc>, reason: Delay },
    /// It is not sent.
    Suppress { reason: Refusal },
}

/// Why a message is sent later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// The user is told of nothing at this time.
    QuietHours,
    /// It is sent with others.
    Digest,
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The user has not asked to hear of its topic.
    NotOptedIn,
    /// The user has been told enough in the last hour.
    Rate,
    /// There is no conversation in which the user could read it.
    NoConversation,
}

/// Where a message or a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is sent when it is due.
    Pending,
    /// It waits for quiet hours to end, or for a digest.
    Held,
    /// It was sent.
    Sent,
    /// It is not sent.
    Suppressed,
    /// It was given up.
    Failed,
}

impl Decision {
    /// Where it leaves the message.
    pub(crate) fn state(self) -> State {
        match self {
            Self::Send => State::Pending,
            Self::Hold { .. } => State::Held,
            Self::Suppress { .. } => State::Suppressed,
        }
    }

    /// Why the message is not sent at once, as the table and outcomes say it.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Send => None,
            Self::Hold { reason, .. } => Some(reason.as_str()),
            Self::Suppress { reason } => Some(reason.as_str()),
        }
    }

    /// From when the message is sent, if it is, where it is decided `now`.
    pub(super) fn due_at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Send | Self::Suppress { .. } => now,
            Self::Hold { until, .. } => until,
        }
    }
}

impl Delay {
    /// As the table and outcomes say it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::QuietHours => "quiet hours",
            Self::Digest => "digest",
        }
    }
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotOptedIn => "not opted in",
            Self::Rate => "rate",
            Self::NoConversation => "no conversation",
        }
    }
}

impl State {
    /// As the table, outcomes and metrics say it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Sent => "sent",
            Self::Suppressed => "suppressed",
            Self::Failed => "failed",
        }
    }
}
