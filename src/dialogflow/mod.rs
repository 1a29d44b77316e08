//! The wire: Dialogflow's JSON, ES and CX, to a [`Turn`] and from an [`Answer`]; nothing else knows it.

mod cx;
mod es;
mod field;
mod heard;
mod json;
mod lifespan;
mod limit;
mod talk;
mod unsaid;

use bytes::Bytes;
use serde_json::Value;

pub(crate) use self::heard::Heard;
pub(crate) use self::json::BadJson;
pub(crate) use self::talk::{Active, Taken, Talk};
use crate::lang::Lang;
use crate::reply::message::Message;
use crate::reply::{Answer, Reply};
use crate::turn::{Api, Turn};

/// The largest reply that Dialogflow takes, in bytes.
pub(crate) const MAX_REPLY: usize = 64 * 1024;

/// The fields of a request that name the platform's answer, in either spelling.
pub(crate) const RESPONSE_IDS: [&str; 4] = [
    "responseId",
    "response_id",
    "detectIntentResponseId",
    "detect_intent_response_id",
];

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

/// Which ES API an agent speaks when its requests do not tell (v2 and v2beta1 mostly look alike).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EsApi {
    /// v2beta1 where the request can only be of v2beta1, else v2.
    #[default]
    Auto,
    /// Always v2.
    V2,
    /// Always v2beta1 (the agent's “beta features” are on).
    V2beta1,
}

/// Reads a request.
///
/// # Errors
/// [`NotATurn`] names the place in the JSON, or the field.
pub(crate) fn decode(body: &[u8], es_api: EsApi) -> Result<Turn, NotATurn> {
    let root = match json::read(body)? {
        Value::Object(root) => root,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(field::wrong("(root)", &other, "an object: a Dialogflow WebhookRequest"));
        }
    };
    if es::is_es(&root) {
        es::decode(root, es_api)
    } else if cx::is_cx(&root) {
        cx::decode(root)
    } else {
        let found_es = ["session", "responseId", "originalDetectIntentRequest"];
        if found_es.iter().any(|name| field::value_of(&root, name).is_some()) {
            return Err(field::missing("queryResult", "an object: what Dialogflow understood"));
        }
        Err(NotATurn::Field {
            field: "(root)".to_owned(),
            found: match root.keys().next() {
                Some(key) => format!(
                    "an object with {:?} and neither",
                    key.chars().take(60).collect::<String>()
                ),
                None => "an empty object".to_owned(),
            },
            expected: "queryResult (Dialogflow ES) or fulfillmentInfo (Dialogflow CX)".to_owned(),
        })
    }
}

/// The request's JSON as it came, of a body that [`decode`] has read.
///
/// # Errors
/// [`BadJson`] for a body that is none.
pub(crate) fn raw(body: &[u8]) -> Result<Value, BadJson> {
    json::read(body)
}

/// Writes the reply to `turn`; never one that Dialogflow refuses.
///
/// What the turn's API does not take is said in text, or left out with a warning in the log, once for each intent.
pub(crate) fn encode(turn: &Turn, answer: &Answer) -> Bytes {
    match turn.api {
        Api::EsV2 | Api::EsV2beta1 => es::encode(turn, answer),
        Api::CxV3 => cx::encode(turn, answer),
    }
}

/// What is said of a reply none of whose messages the API takes: how the user gets to the same by hand.
fn last_words(turn: &Turn, reply: &Reply) -> String {
    let lang = Lang::new(turn.language.as_str());
    let messages = reply.messages.iter();
    let words: Vec<String> = messages.filter_map(|(_, message)| message.stand_in(&lang)).collect();
    if words.is_empty() {
        tracing::warn!(
            intent.name = turn.name(),
            "the reply has nothing to say; the user heard that it cannot be done here"
        );
        return instead_of_silence(turn);
    }
    words.join("\n")
}

/// What is said where an answer says nothing.
fn instead_of_silence(turn: &Turn) -> String {
    Lang::new(turn.language.as_str()).pick([
        ("en", "Sorry, I cannot do that here.".to_owned()),
        ("de", "Das geht hier leider nicht.".to_owned()),
    ])
}

/// A small ES turn with these parameters, to try an intent out.
pub(crate) fn example(intent: &str, parameters: &str) -> String {
    let intent = Value::from(intent);
    format!(
        r#"{{"session":"projects/demo/agent/sessions/1","queryResult":{{"intent":{{"displayName":{intent}}},"parameters":{parameters}}}}}"#
    )
}

/// Whether `wire`, the JSON of `message`, has all that Dialogflow requires; a warning names what it lacks.
fn complete(message: &Message, wire: &Value) -> bool {
    let lacks = message.lacks(wire);
    if let Some(field) = lacks {
        tracing::warn!(
            message.kind = message.kind(),
            field,
            "rich message not sent: Dialogflow requires this field"
        );
    }
    lacks.is_none()
}
