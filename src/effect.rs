//! What a rule makes of an event, all expressions evaluated: values only, nothing has happened yet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One effect of one action of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Sets a fact in memory.
    Remember {
        /// What the fact is about.
        about: Recipient,
        /// Its name.
        name: String,
        /// What is known; null forgets the fact.
        value: Value,
        /// Whether the value is made of what memory held.
        #[serde(skip)]
        is_made_of_memory: bool,
    },
    /// Tells somebody.
    Notify {
        /// Whom.
        to: Recipient,
        /// What the user must have opted in to.
        topic: String,
        /// `chat`, or the name of a file in `events/channels`.
        channel: String,
        /// What the user reads.
        text: String,
    },
    /// Moves a conversation at its next turn.
    Goto {
        /// Whose.
        to: Recipient,
        /// How.
        kind: GotoKind,
        /// Of the context or the event.
        name: String,
        /// What it carries.
        parameters: Map<String, Value>,
    },
    /// Calls a URL.
    Call(HttpCall),
    /// Tells of another event, from the source `rejoinder`.
    Emit {
        /// Its type.
        event_type: String,
        /// What it is about.
        entity_id: String,
        /// Version of its schema.
        schema_version: u32,
        /// Its payload.
        payload: Value,
    },
    /// Runs an action that is written in Rust.
    Run {
        /// The name it is registered under.
        name: String,
    },
}

/// Whom an effect is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recipient {
    /// All users who follow this entity.
    Followers(String),
    /// This user, in all conversations of theirs.
    User(String),
    /// The conversation with this full session name.
    Session(String),
    /// The entity itself: for facts only.
    Entity(String),
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FactScope {
    /// An entity, such as an order.
    Entity,
    /// A user.
    User,
    /// One conversation.
    Session,
}

impl FactScope {
    /// As the table `facts` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::User => "user",
            Self::Session => "session",
        }
    }
}

/// How a conversation is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GotoKind {
    /// A context is active at the next turn.
    Context,
    /// The next turn is answered with a follow-up event.
    Event,
}

/// A request to another service, sent at least once, each time with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpCall {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: String,
    /// Where to.
    pub(crate) url: String,
    /// More headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The JSON that is sent.
    pub(crate) body: Value,
    /// Name of the environment variable that holds the secret with which it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_env: Option<String>,
    /// Whether a private address may be called.
    #[serde(default)]
    pub(crate) allow_private: bool,
}
