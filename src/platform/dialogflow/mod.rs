//! Dialogflow, ES and CX: its JSON to a [`Turn`] and from an [`Answer`]; and from the other side, too.

mod cx;
mod es;
mod field;
mod heard;
mod kept;
mod lifespan;
mod limit;
mod message;
mod name;
pub(super) mod session;
mod settings;
mod talk;
mod unsaid;

use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use self::heard::Heard;
pub(crate) use self::kept::{keep, kept};
pub(crate) use self::session::SESSION_SHAPE;
pub use self::settings::{DialogflowSettings, EsApi};
pub(crate) use self::talk::{Active, Taken, Talk};
use super::json::{self, BadJson};
use super::not_a_turn::NotATurn;
use crate::lang::Lang;
use crate::reply::{Answer, Reply};
use crate::turn::{Api, Turn};

/// The largest reply that Dialogflow takes, in bytes.
const MAX_REPLY: usize = 64 * 1024;

/// The fields of a request that name the platform's answer, in either spelling.
const RESPONSE_IDS: [&str; 4] = [
    "responseId",
    "response_id",
    "detectIntentResponseId",
    "detect_intent_response_id",
];

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

/// All that a request says but for its response id, of a body that [`decode`] has read.
pub(crate) fn content(body: &[u8]) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut fields)) = json::read(body) else {
        return None;
    };
    for id in RESPONSE_IDS {
        fields.remove(id);
    }
    Some(fields)
}

/// The field of the request that names the turn's intent, and what it says.
pub(crate) fn intent_field(turn: &Turn) -> (&'static str, &str) {
    match turn.api {
        Api::EsV2 | Api::EsV2beta1 => ("queryResult.intent.displayName", &turn.intent),
        Api::CxV3 => ("fulfillmentInfo.tag", &turn.tag),
    }
}

/// The event that led to the turn; empty where none did. ES puts an event's name into the query text. A text that matched
/// no intent is what a user said, though it be the name of an event.
pub(crate) fn event(turn: &Turn) -> &str {
    match turn.api {
        Api::EsV2 | Api::EsV2beta1 if turn.is_fallback => "",
        Api::EsV2 | Api::EsV2beta1 => &turn.text,
        Api::CxV3 => &turn.event,
    }
}

/// Whether an answer may be a follow-up event: CX takes none from a webhook.
pub(crate) fn takes_events(api: Api) -> bool {
    match api {
        Api::EsV2 | Api::EsV2beta1 => true,
        Api::CxV3 => false,
    }
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
