//! The name of a conversation, and the ids of the contexts that live in it.

use std::fmt;

/// A conversation's full name, as its platform gave it: the key to all that is kept of it.
///
/// The name says whose it is. One that begins with `projects/` is Dialogflow's:
///
/// * ES: `projects/P[/locations/L]/agent[/environments/E/users/U]/sessions/S`
/// * CX: `projects/P/locations/L/agents/A[/environments/E]/sessions/S`
///
/// A platform whose names are not its own by their shape has them with its name and a colon before them, as `rasa:4711`
/// would be. No name of Dialogflow's begins so: what stands before the first `/` of one is `projects`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionName(Box<str>);

/// Text that is not a session's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct BadSessionName {
    found: String,
    expected: &'static str,
}

impl BadSessionName {
    /// `expected` says what its platform's names look like.
    pub(crate) fn new(found: &str, expected: &'static str) -> Self {
        Self {
            found: found.chars().take(200).collect(),
            expected,
        }
    }
}

// How a name is read (`SessionName::parse`) is known to the platforms.
impl SessionName {
    /// The session of this name, which its platform has read.
    pub(crate) fn of(name: &str) -> Self {
        Self(name.into())
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last part: what stands after the last `/`, in Dialogflow after `/sessions/`.
    pub fn id(&self) -> &str {
        session_id(&self.0)
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A context's id: lower case, `a-z 0-9 _ - %`, 1 to 250 bytes, and none that Dialogflow keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(Box<str>);

/// Text that cannot be a context's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found context id {0:?}, expected 1 to 250 of a-z 0-9 _ - %, not one that Dialogflow reserves")]
pub struct BadContextId(String);

impl ContextId {
    /// Reads an id, in lower case whatever came.
    ///
    /// # Errors
    /// [`BadContextId`] when Dialogflow would refuse it.
    pub fn parse(id: &str) -> Result<Self, BadContextId> {
        if is_context_id(id) {
            Ok(Self(id.to_ascii_lowercase().into()))
        } else {
            Err(BadContextId(id.chars().take(200).collect()))
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether Dialogflow accepts `id` as a context's id (upper case included: it will be lower-cased).
pub const fn is_context_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    if bytes.is_empty() || bytes.len() > 250 {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'%') {
            return false;
        }
        at += 1;
    }
    !(ends_with(bytes, b"__system_counters__") && bytes.len() == 19
        || ends_with(bytes, b"_id_dialog_context")
        || ends_with(bytes, b"_dialog_params_size"))
}

const fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let Some(skip) = text.len().checked_sub(end.len()) else {
        return false;
    };
    let mut at = 0;
    while at < end.len() {
        if !text[skip + at].eq_ignore_ascii_case(&end[at]) {
            return false;
        }
        at += 1;
    }
    true
}

/// The last part of a session's name, as the logs of turns have it.
pub(crate) fn session_id(session: &str) -> &str {
    session.rsplit('/').next().unwrap_or(session)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("account-info", true)]
    #[case("Order_2%20", true)]
    #[case("", false)]
    #[case("no space", false)]
    #[case("ümlaut", false)]
    #[case("__system_counters__", false)]
    #[case("abc_id_dialog_context", false)]
    #[case("abc_dialog_params_size", false)]
    fn context_ids_follow_the_rules(#[case] id: &str, #[case] allowed: bool) {
        assert_eq!(ContextId::parse(id).is_ok(), allowed);
        assert!(!is_context_id(&"a".repeat(251)));
    }
}
