//! What a Dialogflow ES agent understands in one language: its intents with their phrases, and its entities.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::likeness::Part;
use super::value::Kind;
use super::words::words;
use super::{Intent, Parameter, Unsaid};
use crate::agent::es::Named;
use crate::agent::json;
use crate::event::file::{self, FileError};
use crate::lang::Lang;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpokenIntent {
    name: String,
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    webhook_used: bool,
    #[serde(default)]
    fallback_intent: bool,
    #[serde(default)]
    events: Vec<Named>,
    #[serde(default)]
    responses: Vec<SpokenResponse>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpokenResponse {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    affected_contexts: Vec<Affected>,
    #[serde(default)]
    parameters: Vec<ParameterOf>,
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Affected {
    name: String,
    #[serde(default)]
    lifespan: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParameterOf {
    name: String,
    #[serde(default)]
    data_type: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    default_value: String,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    is_list: bool,
    #[serde(default)]
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    #[serde(default)]
    lang: String,
    #[serde(default)]
    value: String,
}

/// What the agent says by itself.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    lang: String,
    speech: Option<Speech>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Speech {
    One(String),
    Some(Vec<String>),
}

#[derive(Deserialize)]
struct Phrase {
    #[serde(default)]
    data: Vec<Piece>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    text: String,
    alias: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntityFile {
    name: String,
    #[serde(default)]
    is_regexp: bool,
}

#[derive(Deserialize)]
struct Entry {
    value: String,
    #[serde(default)]
    synonyms: Vec<String>,
}

/// The intents of `dir`, as they are in a language.
pub(super) fn intents(dir: &Path, lang: &Lang) -> Result<Vec<Intent>, FileError> {
    let entities = entities(&dir.join("entities"), lang)?;
    let mut intents = Vec::new();
    for path in file::list(&dir.join("intents"), "json")? {
        if file::file_name(&path).contains("_usersays_") {
            continue;
        }
        let file: SpokenIntent = json(&path)?;
        let phrases: Vec<Phrase> = beside(&path, "usersays", lang)?;
        let response = file.responses.into_iter().next();
        let own_text = response.iter().flat_map(|response| &response.messages);
        let own_text = own_text.filter(|message| is_of(&message.lang, lang));
        let mut intent = Intent {
            contexts: file.contexts,
            calls: file.webhook_used,
            is_fallback: file.fallback_intent,
            events: file.events.into_iter().map(|event| event.name).collect(),
            own_text: own_text.filter_map(Message::text).collect::<Vec<_>>().join("\n"),
            phrases: phrases.iter().map(Phrase::parts).collect(),
            ..Intent::new(file.name)
        };
        if let Some(response) = response {
            let affected = response.affected_contexts.into_iter();
            intent.action = response.action.unwrap_or_default();
            intent.sets = affected.map(|context| (context.name, context.lifespan)).collect();
            let parameters = response.parameters.into_iter();
            intent.parameters = parameters.map(|parameter| parameter.read(&entities, lang)).collect();
        }
        intents.push(intent);
    }
    Ok(intents)
}

/// The agent's own entities by their names. One of regular expressions is not read: it takes any words.
fn entities(dir: &Path, lang: &Lang) -> Result<HashMap<String, Kind>, FileError> {
    let mut entities = HashMap::new();
    for path in file::list(dir, "json")? {
        if file::file_name(&path).contains("_entries_") {
            continue;
        }
        let entity: EntityFile = json(&path)?;
        let entries: Vec<Entry> = beside(&path, "entries", lang)?;
        let kind = match entity.is_regexp {
            true => Kind::Any,
            false => Kind::OneOf(entries.into_iter().flat_map(Entry::names).collect()),
        };
        entities.insert(entity.name, kind);
    }
    Ok(entities)
}

/// What stands beside a file for a language, `NAME_usersays_en.json`; nothing where there is none.
fn beside<T: DeserializeOwned>(file: &Path, what: &str, lang: &Lang) -> Result<Vec<T>, FileError> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!("{stem}_{what}_{}.json", lang.tag()));
    if beside.is_file() {
        json(&beside)
    } else {
        Ok(Vec::new())
    }
}

fn is_of(tag: &str, lang: &Lang) -> bool {
    tag.is_empty() || tag.eq_ignore_ascii_case(lang.tag())
}

impl Message {
    fn text(&self) -> Option<&str> {
        match self.speech.as_ref()? {
            Speech::One(text) => Some(text),
            Speech::Some(texts) => texts.first().map(String::as_str),
        }
    }
}

impl Phrase {
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for piece in &self.data {
            match &piece.alias {
                Some(alias) if !alias.is_empty() => parts.push(Part::Slot(alias.clone())),
                _ => parts.extend(words(&piece.text).into_iter().map(|word| Part::Word(word.low))),
            }
        }
        parts
    }
}

impl Entry {
    /// What it is called, and what it stands for.
    fn names(self) -> impl Iterator<Item = (Vec<String>, String)> {
        let value = self.value;
        let names = self.synonyms.into_iter().chain([value.clone()]);
        names.map(move |name| {
            let name = words(&name).into_iter().map(|word| word.low);
            (name.collect(), value.clone())
        })
    }
}

impl ParameterOf {
    fn read(self, entities: &HashMap<String, Kind>, lang: &Lang) -> Parameter {
        let prompt = self.prompts.into_iter().find(|prompt| is_of(&prompt.lang, lang));
        let kind = match self.data_type.trim_start_matches('@') {
            "sys.number" | "sys.cardinal" => Kind::Number,
            "sys.number-integer" => Kind::Integer,
            "sys.number-sequence" => Kind::Sequence,
            "sys.ordinal" => Kind::Ordinal,
            "sys.date" => Kind::Date,
            "sys.time" => Kind::Time,
            "sys.date-time" => Kind::DateTime,
            "sys.currency-name" => Kind::Currency,
            "sys.unit-currency" => Kind::Money,
            "sys.email" => Kind::Email,
            own => entities.get(own).cloned().unwrap_or(Kind::Any),
        };
        let alias = self.value.strip_prefix('$').filter(|alias| !alias.contains('.'));
        Parameter {
            alias: alias.unwrap_or(&self.name).to_owned(),
            kind,
            is_list: self.is_list,
            default: [self.value, self.default_value]
                .iter()
                .find_map(|text| Unsaid::read(text)),
            prompt: prompt
                .map(|prompt| prompt.value)
                .filter(|text| self.required && !text.is_empty()),
            name: self.name,
        }
    }
}
