//! What makes two requests the same turn, or the same question.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::platform;
use crate::turn::{ActiveContext, FormParameter, Lifespan, Page, Sentiment, Turn};

/// SHA-256 of what a key is made of.
pub(crate) type Hash = [u8; 32];

/// What an argument of a handler can read of a turn, beside its session, language and parameters.
///
/// Two turns in which all of that is the same ask a handler the same question, and a late reply to one answers the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// What the context of this id holds.
    Context(&'static str),
    /// All of the [`Turn`]; only the same turn asks the same.
    Turn,
    /// All of the request.
    Request,
}

/// Whom a turn asks.
pub(crate) struct Asked<'a> {
    /// What its intent is matched by, and its name.
    pub(crate) by: &'a str,
    pub(crate) name: &'a str,
    /// What its handler can read.
    pub(crate) reads: &'a [Read],
}

/// The keys of one turn.
///
/// A response id alone is not enough: it names the platform's final answer, which can take several calls (a chain of
/// follow-up events, several fulfillments of one page), so the turn's content is part of the key.
#[derive(Clone, Debug)]
pub(crate) struct TurnKey {
    /// All that the turn holds but for its response id; contexts in any order.
    pub(crate) turn: Hash,
    /// With its response id; `None` where the platform gave none.
    pub(crate) record: Option<Hash>,
    /// The question: all that the intent's handler can read, and all that its reply is written by.
    pub(crate) question: Hash,
}

impl TurnKey {
    /// The keys of `turn`, which came as `body` and which `intent` answers.
    pub(crate) fn of(turn: &Turn, body: &[u8], intent: &Asked<'_>) -> Self {
        let mut content = Hasher::new();
        content.asked(turn, intent);
        content.all(turn);
        if intent.reads.contains(&Read::Request) {
            content.request(body);
        }
        let mut question = Hasher::new();
        question.asked(turn, intent);
        for read in intent.reads {
            match read {
                Read::Context(id) => question.maybe(turn.kept(id), Hasher::object),
                Read::Turn | Read::Request => question = content.clone(),
            }
        }
        let record = (!turn.response_id.is_empty()).then(|| {
            let mut record = content.clone();
            record.text(&turn.response_id);
            record.hash()
        });
        Self {
            turn: content.hash(),
            record,
            question: question.hash(),
        }
    }

    /// The keys of the same turn apart from a run that has read another identity of the user.
    pub(crate) fn apart(&self) -> Self {
        Self {
            turn: Sha256::digest(self.turn).into(),
            ..self.clone()
        }
    }
}

/// Hashes one value after the other, so that no row of values reads as another.
#[derive(Clone)]
struct Hasher(Sha256);

impl Hasher {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn hash(self) -> Hash {
        self.0.finalize().into()
    }

    /// What every handler can read, and what its reply is written for.
    fn asked(&mut self, turn: &Turn, intent: &Asked<'_>) {
        self.text(turn.api.name());
        self.text(turn.session.as_str());
        self.text(intent.by);
        self.text(intent.name);
        self.text(&turn.language);
        self.object(&turn.parameters);
    }

    /// All else that is in the turn. A field that is added to it has to be looked at here.
    fn all(&mut self, turn: &Turn) {
        let Turn {
            api: _,
            session: _,
            response_id: _,
            intent,
            action,
            tag,
            event,
            text,
            language: _,
            parameters: _,
            contexts,
            confidence,
            is_fallback,
            all_required_params_present,
            cancels_slot_filling,
            agent_text,
            sentiment,
            source,
            payload,
            page,
            takes_response_type,
            lifespans,
        } = turn;
        for text in [intent, action, tag, event, text, agent_text, source] {
            self.text(text);
        }
        for flag in [
            is_fallback,
            all_required_params_present,
            cancels_slot_filling,
            takes_response_type,
        ] {
            self.flag(*flag);
        }
        self.maybe(confidence.as_ref(), |hasher, confidence| hasher.number(*confidence));
        self.maybe(sentiment.as_ref(), |hasher, Sentiment { score, magnitude }| {
            hasher.number(*score);
            hasher.number(*magnitude);
        });
        self.object(payload);
        self.maybe(page.as_ref(), |hasher, page| {
            let Page {
                name,
                display_name,
                form,
            } = page;
            hasher.text(name);
            hasher.text(display_name);
            hasher.list(form, Self::form_parameter);
        });
        self.list(lifespans, |hasher, Lifespan { parameter, left }| {
            hasher.text(parameter);
            hasher.maybe(left.as_ref(), |hasher, left| hasher.number(f64::from(*left)));
        });
        // A relay may have put them in another order.
        let mut contexts: Vec<&ActiveContext> = contexts.iter().collect();
        contexts.sort_by(|one, other| one.id.cmp(&other.id));
        self.list(&contexts, |hasher, context| {
            let ActiveContext {
                id,
                lifespan,
                parameters,
            } = context;
            hasher.text(id);
            hasher.maybe(lifespan.as_ref(), |hasher, lifespan| {
                hasher.number(f64::from(*lifespan))
            });
            hasher.object(parameters);
        });
    }

    fn form_parameter(&mut self, parameter: &FormParameter) {
        let FormParameter {
            name,
            required,
            state,
            value,
            just_collected,
        } = parameter;
        self.text(name);
        self.flag(*required);
        self.text(state);
        self.value(value);
        self.flag(*just_collected);
    }

    /// All that is in the request but for the response id.
    fn request(&mut self, body: &[u8]) {
        match platform::content(body) {
            Some(fields) => self.object(&fields),
            None => self.0.update(body),
        }
    }

    /// Length first, so that two texts never read as two others.
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.update(if flag { b"t" } else { b"f" });
    }

    fn number(&mut self, number: f64) {
        self.0.update(number.to_bits().to_be_bytes());
    }

    fn maybe<T: ?Sized>(&mut self, value: Option<&T>, hash: impl FnOnce(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            hash(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut hash: impl FnMut(&mut Self, &T)) {
        self.0.update((items.len() as u64).to_be_bytes());
        items.iter().for_each(|item| hash(self, item));
    }

    fn object(&mut self, fields: &Map<String, Value>) {
        self.0.update((fields.len() as u64).to_be_bytes());
        for (name, value) in fields {
            self.text(name);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.update(b"n"),
            Value::Bool(flag) => self.flag(*flag),
            Value::Number(number) => {
                self.0.update(b"d");
                // 7 and 7.0 are one number, and a retry may write it either way.
                self.number(number.as_f64().unwrap_or_default());
            }
            Value::String(string) => {
                self.0.update(b"s");
                self.text(string);
            }
            Value::Array(items) => {
                self.0.update(b"a");
                self.list(items, Self::value);
            }
            Value::Object(fields) => {
                self.0.update(b"o");
                self.object(fields);
            }
        }
    }
}
