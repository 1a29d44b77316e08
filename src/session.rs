//! The full name of a conversation, and the ids of the contexts that live in it.

use std::fmt;

/// A session's full name, in one of Dialogflow's shapes:
///
/// * ES: `projects/P[/locations/L]/agent[/environments/E/users/U]/sessions/S`
/// * CX: `projects/P/locations/L/agents/A[/environments/E]/sessions/S`
///
/// Ids are kept as they came: they run past the documented 36 characters and may hold a colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionName(Box<str>);

/// Text that is not a session's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}, expected projects/…/agent/sessions/… (ES; also with locations/… or environments/…/users/…) \
     or projects/…/locations/…/agents/…/sessions/… (CX)"
)]
pub struct BadSessionName(String);

impl SessionName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`BadSessionName`] when `name` has none of the six shapes.
    pub fn parse(name: &str) -> Result<Self, BadSessionName> {
        if is_session(name) {
            Ok(Self(name.into()))
        } else {
            Err(BadSessionName(name.chars().take(200).collect()))
        }
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands after `/sessions/`.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_session(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) || name.chars().any(char::is_control) {
        return false;
    }
    let in_agent = match parts.as_slice() {
        ["projects", _, "agent", rest @ ..] | ["projects", _, "locations", _, "agent", rest @ ..] => rest,
        ["projects", _, "locations", _, "agents", _, "sessions", _]
        | [
            "projects",
            _,
            "locations",
            _,
            "agents",
            _,
            "environments",
            _,
            "sessions",
            _,
        ] => return true,
        _ => return false,
    };
    matches!(
        in_agent,
        ["sessions", _] | ["environments", _, "users", _, "sessions", _]
    )
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

    /// The CX session parameter that stands for the context; CX names take no `%`.
    pub(crate) fn cx_parameter(&self) -> String {
        self.0.replace('%', "_")
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

/// What stands after `/sessions/`, as the logs of turns have it.
pub(crate) fn session_id(session: &str) -> &str {
    session.rsplit('/').next().unwrap_or(session)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("projects/p-1/agent/sessions/s")]
    #[case("projects/p/agent/environments/draft/users/-/sessions/dfMessenger-1:detectIntent")]
    #[case("projects/p/locations/europe-west2/agent/sessions/s")]
    #[case("projects/p/locations/us/agent/environments/e/users/u/sessions/s")]
    #[case("projects/p/locations/global/agents/a/sessions/s")]
    #[case("projects/p/locations/global/agents/a/environments/-/sessions/s")]
    fn every_shape_is_read(#[case] name: &str) {
        assert_eq!(SessionName::parse(name).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("")]
    #[case("the session")]
    #[case("projects/p/agent/sessions/s\0")]
    #[case("projects/p/agent/sessions/")]
    #[case("projects/p/agent/environments/e/sessions/s")]
    #[case("projects/p/agents/a/sessions/s")]
    #[case("projects/p/agent/sessions/s/contexts/c")]
    fn other_text_is_refused(#[case] name: &str) {
        assert!(SessionName::parse(name).is_err());
    }

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
