//! What makes two requests the same turn, or the same question.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::bot::{By, Intent};
use crate::turn::Turn;

/// SHA-256 of what a key is made of.
pub(super) type Hash = [u8; 32];

/// The keys of one turn.
///
/// A response id alone is not enough: it names the platform's final answer, which can take several calls (a chain of
/// follow-up events, several fulfillments of one page), so the turn's content is part of the key.
#[derive(Clone, Debug)]
pub(crate) struct TurnKey {
    /// The turn but for its response id: session, intent (CX: and page), query text, parameters, contexts.
    pub(crate) turn: Hash,
    /// With its response id; `None` where the platform gave none.
    pub(crate) record: Option<Hash>,
    /// The question: session, intent and parameters, in whatever words it is asked.
    pub(crate) question: Hash,
}

impl TurnKey {
    /// The keys of `turn`, which `intent` answers.
    pub(crate) fn of(turn: &Turn, intent: &Intent) -> Self {
        let mut hasher = Sha256::new();
        text(&mut hasher, turn.session.as_str());
        text(&mut hasher, intent.by.name());
        text(&mut hasher, &intent.name);
        text(&mut hasher, &turn.language);
        object(&mut hasher, &turn.parameters);
        if intent.by == By::Fallback {
            // Nothing was understood but the words themselves.
            text(&mut hasher, &turn.text);
        }
        let question = hasher.clone().finalize().into();
        text(&mut hasher, &turn.text);
        text(&mut hasher, &turn.intent);
        if let Some(page) = &turn.page {
            text(&mut hasher, &page.name);
        }
        for context in &turn.contexts {
            text(&mut hasher, &context.id);
            hasher.update(context.lifespan.unwrap_or(u32::MAX).to_be_bytes());
            object(&mut hasher, &context.parameters);
        }
        let content: Hash = hasher.clone().finalize().into();
        let record = (!turn.response_id.is_empty()).then(|| {
            text(&mut hasher, &turn.response_id);
            hasher.finalize().into()
        });
        Self {
            turn: content,
            record,
            question,
        }
    }
}

/// Length first, so that two texts never read as two others.
fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

fn object(hasher: &mut Sha256, fields: &serde_json::Map<String, Value>) {
    hasher.update((fields.len() as u64).to_be_bytes());
    for (name, value) in fields {
        text(hasher, name);
        hash(hasher, value);
    }
}

fn hash(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(flag) => hasher.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => {
            hasher.update(b"d");
            // 7 and 7.0 are one number, and a retry may write it either way.
            hasher.update(number.as_f64().unwrap_or_default().to_bits().to_be_bytes());
        }
        Value::String(string) => {
            hasher.update(b"s");
            text(hasher, string);
        }
        Value::Array(items) => {
            hasher.update(b"a");
            hasher.update((items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| hash(hasher, item));
        }
        Value::Object(fields) => {
            hasher.update(b"o");
            object(hasher, fields);
        }
    }
}
