//! Effects of rules, as the conversation carries them out: what is to happen, and what came of it.

use serde::Serialize;
use uuid::Uuid;

use super::outbox;
use crate::effect::Effect;
use crate::log::Logged;

/// An effect that is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a> {
    /// The event.
    pub(crate) event: &'a Logged,
    /// The rule that makes it.
    pub(crate) rule: &'a str,
    /// Which of the rule's effects it is.
    pub(crate) index: usize,
    /// The effect.
    pub(crate) effect: &'a Effect,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Done {
    /// Facts that were set.
    Facts(Vec<FactSet>),
    /// Messages, one for each user and conversation.
    Messages(Vec<MessageDone>),
    /// The conversations that are moved at their next turn.
    Gotos(Vec<String>),
    /// The id of the call.
    Call(#[serde(serialize_with = "outbox::text_of_id")] Uuid),
    /// It is not the conversation's.
    Elsewhere,
}

/// A fact that was set, or forgotten, or stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FactSet {
    /// entity, user or session.
    pub(crate) scope: &'static str,
    /// What it is about.
    pub(crate) subject: String,
    /// Its name.
    pub(crate) name: String,
    /// Why it stays as it is; none where it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<&'static str>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MessageDone {
    /// As in the outbox.
    #[serde(serialize_with = "outbox::text_of_id")]
    pub(crate) id: Uuid,
    /// chat, or the channel's name.
    pub(crate) channel: String,
    /// Whom it is for.
    pub(crate) user_id: String,
    /// The conversation it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// pending, held, suppressed; known: it was decided when the event was applied before.
    pub(crate) state: &'static str,
    /// Why it is held or suppressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
}
