//! The names that Dialogflow has for what a reply can choose.

use crate::reply::message::Platform;
use crate::reply::{FormState, ResponseType};

/// The chat service that a message is for (ES `platform`, CX `channel`); `None` for any.
pub(super) fn platform(platform: Platform) -> Option<&'static str> {
    match platform {
        Platform::Any => None,
        Platform::Facebook => Some("FACEBOOK"),
        Platform::Slack => Some("SLACK"),
        Platform::Telegram => Some("TELEGRAM"),
        Platform::Kik => Some("KIK"),
        Platform::Skype => Some("SKYPE"),
        Platform::Line => Some("LINE"),
        Platform::Viber => Some("VIBER"),
        Platform::ActionsOnGoogle => Some("ACTIONS_ON_GOOGLE"),
        Platform::Telephony => Some("TELEPHONY"),
        Platform::GoogleHangouts => Some("GOOGLE_HANGOUTS"),
    }
}

/// The state of a form's parameter.
pub(super) fn form_state(state: FormState) -> &'static str {
    match state {
        FormState::Empty => "EMPTY",
        FormState::Invalid => "INVALID",
        FormState::Filled => "FILLED",
    }
}

/// What a message is for.
pub(super) fn response_type(kind: ResponseType) -> &'static str {
    match kind {
        ResponseType::EntryPrompt => "ENTRY_PROMPT",
        ResponseType::ParameterPrompt => "PARAMETER_PROMPT",
        ResponseType::HandlerPrompt => "HANDLER_PROMPT",
    }
}
