//! What an agent takes a sentence for: plainly, by its training phrases, and here. Dialogflow itself understands more.

mod es;
mod likeness;
mod moment;
mod reader;
mod value;
mod words;

use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use self::likeness::{Part, Sentence, Weights};
use self::reader::Reader;
use self::value::Kind;
use super::{AgentKind, Head};
use crate::event::file::FileError;
use crate::lang::Lang;
use crate::platform::dialogflow::{Taken, Talk};

/// From here on, of 1 for the same words, a sentence is taken for an intent.
const ALIKE: f64 = 0.65;

/// An answer is one where at least so much of it is the value that was asked for; more words may be another sentence.
const ANSWERS: f64 = 0.5;

/// What an agent understands in one language.
#[derive(Debug)]
pub(crate) struct Spoken {
    lang: Lang,
    zone: Tz,
    intents: Vec<Intent>,
    weights: Weights,
}

#[derive(Debug)]
struct Intent {
    name: String,
    /// Only where all these are active.
    contexts: Vec<String>,
    /// Whether it calls the webhook; else the agent answers by itself.
    calls: bool,
    is_fallback: bool,
    events: Vec<String>,
    action: String,
    /// The contexts that it sets by itself.
    sets: Vec<(String, u64)>,
    parameters: Vec<Parameter>,
    own_text: String,
    phrases: Vec<Vec<Part>>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    /// How phrases call it.
    alias: String,
    kind: Kind,
    is_list: bool,
    default: Option<Unsaid>,
    /// What the agent asks where it is required and not said.
    prompt: Option<String>,
}

/// What a parameter is where it is not said.
#[derive(Debug)]
enum Unsaid {
    /// `#order.order_number`: a parameter of an active context, or of the event.
    OfContext(String, String),
    Text(String),
}

/// What a sentence is taken for.
#[derive(Debug)]
pub(crate) enum Understood {
    /// A turn for the webhook.
    Turn(Taken),
    /// The agent answers by itself.
    Own(Taken),
    /// The agent asks for what is missing.
    Asks(Open),
    /// No intent, not even a fallback.
    Nothing,
}

/// A question of the agent's that is open: what is known so far, and what is asked for.
#[derive(Debug)]
pub(crate) struct Open {
    intent: usize,
    found: Map<String, Value>,
    /// The intent's name.
    pub(crate) name: String,
    /// The parameter that is asked for.
    pub(crate) parameter: String,
    /// How.
    pub(crate) prompt: String,
}

/// An event with its parameters.
type Event<'a> = Option<(&'a str, &'a Map<String, Value>)>;

impl Spoken {
    /// Reads what the ES agent of `dir` understands in a language: that of the tag, or in whatever region.
    ///
    /// # Errors
    /// The first file that is not as Dialogflow writes it; an agent of CX, or one that does not speak the language.
    pub(crate) fn read(dir: &Path, language: &str) -> Result<Self, FileError> {
        let head = Head::read(dir)?;
        let file = dir.join("agent.json");
        if head.kind(dir)? == AgentKind::Cx {
            return Err(FileError::whole(
                &file,
                "found an agent of Dialogflow CX, expected one of ES: what CX understands hangs on its pages",
            ));
        }
        let tags: Vec<&String> = head.language.iter().chain(&head.supported_languages).collect();
        let same = tags.iter().find(|tag| tag.eq_ignore_ascii_case(language));
        let tag = same.or_else(|| tags.iter().find(|tag| Lang::new(language).is(tag)));
        let Some(tag) = tag else {
            let spoken: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
            let message = format!("found no language {language:?}, expected one of {}", spoken.join(", "));
            return Err(FileError::whole(&file, message));
        };
        let lang = Lang::new(tag.as_str());
        let intents = es::intents(dir, &lang)?;
        Ok(Self {
            weights: Weights::of(intents.iter().map(|intent| intent.phrases.iter().flatten())),
            zone: head
                .default_timezone
                .and_then(|zone| zone.parse().ok())
                .unwrap_or(Tz::UTC),
            lang,
            intents,
        })
    }

    /// How many intents it has.
    pub(crate) fn intents(&self) -> usize {
        self.intents.len()
    }

    /// What a sentence is taken for in a conversation; it may answer a question that is open.
    pub(crate) fn understand(&self, text: &str, talk: &Talk, open: Option<Open>, now: DateTime<Utc>) -> Understood {
        let reader = self.reader(now, false);
        let sentence = Sentence::new(text, &self.weights, &reader);
        let answer = open.as_ref().and_then(|open| self.answer(open, text, now));
        if let (Some(open), Some((value, share))) = (&open, &answer)
            && *share >= ANSWERS
        {
            return self.answered(open, value.clone(), text, talk);
        }
        if let Some((intent, found)) = self.best(&sentence, talk) {
            return self.settle(intent, found, text, talk, None);
        }
        match (open, answer) {
            (Some(open), Some((value, _))) => self.answered(&open, value, text, talk),
            (Some(open), None) => Understood::Asks(open),
            (None, _) => match self.fallback(talk) {
                Some(intent) => self.settle(intent, Map::new(), text, talk, None),
                None => Understood::Nothing,
            },
        }
    }

    /// What an event is taken for, with which a reply sends the conversation on.
    /// `None` where no intent has it.
    pub(crate) fn on_event(&self, event: &str, parameters: &Map<String, Value>, talk: &Talk) -> Option<Understood> {
        let takes = |intent: &Intent| intent.is_open(talk) && intent.events.iter().any(|name| name == event);
        let intent = self.intents.iter().position(takes)?;
        Some(self.settle(intent, Map::new(), event, talk, Some((event, parameters))))
    }

    /// A turn of the intent of this name, with these parameters; what it has besides is unsaid.
    pub(crate) fn named(&self, name: &str, parameters: Map<String, Value>) -> Taken {
        match self.intents.iter().find(|intent| intent.name == name) {
            Some(intent) => intent.taken(parameters, name),
            None => taken(name, parameters),
        }
    }

    fn reader(&self, now: DateTime<Utc>, is_answer: bool) -> Reader {
        Reader {
            lang: self.lang.clone(),
            now: now.with_timezone(&self.zone),
            is_answer,
        }
    }

    /// The intent of the phrase that is most like the sentence, where one is like it, and what it fills.
    fn best(&self, sentence: &Sentence<'_>, talk: &Talk) -> Option<(usize, Map<String, Value>)> {
        let mut best = None;
        let mut highest = (ALIKE, 0);
        let open = self.intents.iter().enumerate();
        for (at, intent) in open.filter(|(_, intent)| intent.is_open(talk)) {
            let parameters = intent.parameters.iter();
            let slots: Vec<_> = parameters
                .map(|parameter| (parameter.alias.as_str(), &parameter.kind))
                .collect();
            for phrase in &intent.phrases {
                let like = sentence.like(phrase, &slots, &self.weights);
                // Of those that are as like, the one for the moment.
                let rank = (like.score, intent.contexts.len());
                if rank > highest || (best.is_none() && rank >= highest) {
                    highest = rank;
                    best = Some((at, like.parameters));
                }
            }
        }
        best
    }

    fn fallback(&self, talk: &Talk) -> Option<usize> {
        let intents = self.intents.iter().enumerate();
        let fallbacks = intents.filter(|(_, intent)| intent.is_fallback && intent.is_open(talk));
        fallbacks
            .max_by_key(|(_, intent)| intent.contexts.len())
            .map(|(at, _)| at)
    }

    fn answer(&self, open: &Open, text: &str, now: DateTime<Utc>) -> Option<(Value, f64)> {
        let parameters = self.intents[open.intent].parameters.iter();
        let parameter = parameters.clone().find(|parameter| parameter.name == open.parameter)?;
        let reader = self.reader(now, true);
        Sentence::new(text, &self.weights, &reader).holds(&parameter.kind)
    }

    fn answered(&self, open: &Open, value: Value, text: &str, talk: &Talk) -> Understood {
        let mut found = open.found.clone();
        let parameters = self.intents[open.intent].parameters.iter();
        let asked = parameters.clone().find(|parameter| parameter.name == open.parameter);
        found.insert(
            asked.map_or(&open.parameter, |parameter| &parameter.alias).clone(),
            value,
        );
        self.settle(open.intent, found, text, talk, None)
    }

    /// Fills the intent's parameters with what was found, by their aliases, and asks for the first that it requires and lacks.
    fn settle(&self, at: usize, found: Map<String, Value>, text: &str, talk: &Talk, event: Event<'_>) -> Understood {
        let intent = &self.intents[at];
        let mut parameters = Map::new();
        for parameter in &intent.parameters {
            let said = found.get(&parameter.alias).cloned();
            let value = said.or_else(|| parameter.default.as_ref()?.value(talk, event));
            match (value, &parameter.prompt) {
                (Some(value), _) if parameter.is_list => {
                    drop(parameters.insert(parameter.name.clone(), vec![value].into()))
                }
                (Some(value), _) => drop(parameters.insert(parameter.name.clone(), value)),
                (None, Some(prompt)) => {
                    return Understood::Asks(Open {
                        intent: at,
                        name: intent.name.clone(),
                        parameter: parameter.name.clone(),
                        prompt: prompt.clone(),
                        found,
                    });
                }
                (None, None) => {}
            }
        }
        let taken = intent.taken(parameters, text);
        if intent.calls {
            Understood::Turn(taken)
        } else {
            Understood::Own(taken)
        }
    }
}

impl Intent {
    fn new(name: String) -> Self {
        Self {
            name,
            contexts: Vec::new(),
            calls: false,
            is_fallback: false,
            events: Vec::new(),
            action: String::new(),
            sets: Vec::new(),
            parameters: Vec::new(),
            own_text: String::new(),
            phrases: Vec::new(),
        }
    }

    /// Whether its input contexts are active.
    fn is_open(&self, talk: &Talk) -> bool {
        self.contexts.iter().all(|id| talk.context(id).is_some())
    }

    fn taken(&self, mut parameters: Map<String, Value>, text: &str) -> Taken {
        for parameter in &self.parameters {
            let unsaid = if parameter.is_list {
                Value::Array(Vec::new())
            } else {
                "".into()
            };
            parameters.entry(parameter.name.clone()).or_insert(unsaid);
        }
        Taken {
            text: text.to_owned(),
            is_fallback: self.is_fallback,
            action: self.action.clone(),
            sets: self.sets.clone(),
            own_text: self.own_text.clone(),
            ..taken(&self.name, parameters)
        }
    }
}

/// A turn of an intent of which no more is known.
pub(crate) fn taken(name: &str, parameters: Map<String, Value>) -> Taken {
    Taken {
        intent: name.to_owned(),
        text: name.to_owned(),
        parameters,
        ..Taken::default()
    }
}

impl Unsaid {
    /// Of a parameter's value or default value; `$…` is what the user says.
    fn read(text: &str) -> Option<Self> {
        if text.is_empty() || text.starts_with('$') {
            return None;
        }
        let of_context = text.strip_prefix('#').and_then(|rest| rest.split_once('.'));
        Some(match of_context {
            Some((context, name)) => Self::OfContext(context.to_owned(), name.to_owned()),
            None => Self::Text(text.to_owned()),
        })
    }

    fn value(&self, talk: &Talk, event: Event<'_>) -> Option<Value> {
        let value = match self {
            Self::Text(text) => return Some(text.as_str().into()),
            Self::OfContext(id, name) => match event {
                Some((event, parameters)) if event.eq_ignore_ascii_case(id) => parameters.get(name),
                Some(_) | None => talk.context(id)?.parameters.get(name),
            },
        };
        value.filter(|value| !value.is_null() && *value != "").cloned()
    }
}

#[cfg(test)]
mod tests;
