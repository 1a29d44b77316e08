//! How Dialogflow names its sessions.

use crate::session::{BadSessionName, SessionName};

/// A session's name in short, for where one is written by hand.
pub(crate) const SESSION_SHAPE: &str = "projects/…/sessions/…";

const SHAPES: &str = "projects/…/agent/sessions/… (ES; also with locations/… or environments/…/users/…) \
     or projects/…/locations/…/agents/…/sessions/… (CX)";

/// Reads a name:
///
/// * ES: `projects/P[/locations/L]/agent[/environments/E/users/U]/sessions/S`
/// * CX: `projects/P/locations/L/agents/A[/environments/E]/sessions/S`
///
/// Ids may run past the documented 36 characters and hold a colon.
///
/// # Errors
/// [`BadSessionName`] when `name` has none of the six shapes.
pub(crate) fn read(name: &str) -> Result<SessionName, BadSessionName> {
    if is_session(name) {
        Ok(SessionName::of(name))
    } else {
        Err(BadSessionName::new(name, SHAPES))
    }
}

/// Whether a session is one of CX.
pub(super) fn is_of_cx(session: &SessionName) -> bool {
    session.as_str().contains("/agents/")
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
        assert_eq!(read(name).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("")]
    #[case("the session")]
    #[case("projects/p/agent/sessions/s\0")]
    #[case("projects/p/agent/sessions/")]
    #[case("projects/p/agent/environments/e/sessions/s")]
    #[case("projects/p/agents/a/sessions/s")]
    #[case("projects/p/agent/sessions/s/contexts/c")]
    #[case("rasa:projects/p/agent/sessions/s")]
    fn other_text_is_refused(#[case] name: &str) {
        assert!(read(name).is_err());
    }
}
