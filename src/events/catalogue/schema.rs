//! One version of a type's schema: what it refuses, and which properties it lists.

use std::path::Path;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::events::file::FileError;

use super::place;

/// At most so many violations are told.
const MAX_VIOLATIONS: usize = 20;

/// A violation's pointer and its message are cut at so many characters: both can hold names that the sender chose.
const MAX_TEXT: usize = 200;

/// `$ref`s are followed at most this deep.
const MAX_REFS: usize = 32;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    /// As it stands in the file.
    pub(super) source: Value,
    accepts: Accepts,
}

/// What a sender did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    /// JSON pointer into the envelope, such as `/payload/tracking_number`.
    pub(crate) pointer: String,
    /// What is wrong there; it says of which kind a value is, never the value.
    pub(crate) message: String,
}

#[derive(Debug)]
enum Accepts {
    Anything,
    AnyObject,
    Valid(Box<Validator>),
}

/// What schemas say about a property.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Listed,
    Unlisted,
    Nothing,
}

impl Violation {
    pub(super) fn new(pointer: &str, message: &str) -> Self {
        Self {
            pointer: cut(pointer),
            message: cut(message),
        }
    }
}

impl Schema {
    pub(super) fn object() -> Self {
        Self {
            source: json!({"type": "object"}),
            accepts: Accepts::AnyObject,
        }
    }

    pub(super) fn anything() -> Self {
        Self {
            source: Value::Bool(true),
            accepts: Accepts::Anything,
        }
    }

    /// Compiles the `text` of a schema file.
    pub(super) fn read(file: &Path, text: &str) -> Result<Self, FileError> {
        let source: Value = serde_json::from_str(text).map_err(|error| FileError {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: without_place(&error),
        })?;
        let accepts = Accepts::of(&source).map_err(|error| {
            let pointer = error.instance_path().as_str();
            let message = format!("in the schema at {pointer:?}: {}", cut(&error.to_string()));
            FileError::at(file, text, place::offset(text, pointer), message)
        })?;
        Ok(Self { source, accepts })
    }

    /// What is wrong with a payload; at most 20 violations.
    pub(super) fn check(&self, payload: &str) -> Result<(), Vec<Violation>> {
        match &self.accepts {
            Accepts::Anything => Ok(()),
            Accepts::AnyObject if payload.starts_with('{') => Ok(()),
            Accepts::AnyObject => Err(vec![Violation::new(
                "/payload",
                &format!("found {}, expected an object", kind_of_text(payload)),
            )]),
            Accepts::Valid(validator) => {
                let payload = serde_json::from_str(payload)
                    .map_err(|error| vec![Violation::new("/payload", &error.to_string())])?;
                violations(validator, &payload)
            }
        }
    }

    /// As [`check`](Self::check), of a payload that is read already.
    pub(super) fn check_value(&self, payload: &Value) -> Result<(), Vec<Violation>> {
        match &self.accepts {
            Accepts::Anything => Ok(()),
            Accepts::AnyObject if payload.is_object() => Ok(()),
            Accepts::AnyObject => Err(vec![Violation::new(
                "/payload",
                &format!("found {}, expected an object", kind(payload)),
            )]),
            Accepts::Valid(validator) => violations(validator, payload),
        }
    }

    /// Whether a payload may have something at `path`: where properties are listed, only those are; a segment `_0` is an
    /// index of an array.
    pub(super) fn has_path(&self, path: &[&str]) -> bool {
        says(&self.source, &self.source, path, 0) != Says::Unlisted
    }
}

impl Accepts {
    fn of(schema: &Value) -> Result<Self, ValidationError<'static>> {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex()) // in linear time: senders choose the text
            .build(schema)?;
        let asserts: Vec<(&str, &Value)> = match schema {
            Value::Object(keywords) => keywords
                .iter()
                .map(|(keyword, value)| (keyword.as_str(), value))
                .filter(|(keyword, _)| !is_annotation(keyword))
                .collect(),
            Value::Bool(true) => Vec::new(),
            _ => return Ok(Self::Valid(Box::new(validator))),
        };
        Ok(match asserts.as_slice() {
            [] => Self::Anything,
            [("type", Value::String(only))] if only == "object" => Self::AnyObject,
            _ => Self::Valid(Box::new(validator)),
        })
    }
}

fn is_annotation(keyword: &str) -> bool {
    matches!(
        keyword,
        "$schema" | "$id" | "$comment" | "title" | "description" | "examples" | "default" | "deprecated"
    )
}

fn violations(validator: &Validator, payload: &Value) -> Result<(), Vec<Violation>> {
    if validator.is_valid(payload) {
        return Ok(());
    }
    let found = validator.iter_errors(payload).take(MAX_VIOLATIONS).map(|error| {
        let pointer = format!("/payload{}", error.instance_path().as_str());
        let message = error.masked_with(kind(error.instance())).to_string();
        Violation::new(&pointer, &message)
    });
    Err(found.collect())
}

/// What the schemas say about `path`; one that says nothing at all permits it.
fn says(root: &Value, schema: &Value, path: &[&str], refs: usize) -> Says {
    let ([first, rest @ ..], Value::Object(keywords)) = (path, schema) else {
        return match schema {
            Value::Bool(false) => Says::Unlisted,
            _ => Says::Listed,
        };
    };
    let mut all = vec![says_itself(root, keywords, first, rest, refs)];
    if let Some(Value::String(reference)) = keywords.get("$ref")
        && refs < MAX_REFS
        && let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        all.push(says(root, target, path, refs + 1));
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = keywords.get(keyword) {
            all.extend(schemas.iter().map(|schema| says_beside(root, schema, path, refs)));
        }
    }
    for keyword in ["if", "then", "else"] {
        if let Some(schema) = keywords.get(keyword) {
            all.push(says_beside(root, schema, path, refs));
        }
    }
    if all.contains(&Says::Listed) {
        Says::Listed
    } else if all.contains(&Says::Unlisted) {
        Says::Unlisted
    } else {
        Says::Nothing
    }
}

/// As [`says`], of a schema that stands beside others: `true` there adds nothing.
fn says_beside(root: &Value, schema: &Value, path: &[&str], refs: usize) -> Says {
    if schema.is_object() {
        says(root, schema, path, refs)
    } else {
        Says::Nothing
    }
}

fn says_itself(
    root: &Value,
    keywords: &serde_json::Map<String, Value>,
    first: &str,
    rest: &[&str],
    refs: usize,
) -> Says {
    let holds_nothing = match keywords.get("type") {
        Some(Value::String(only)) => !matches!(only.as_str(), "object" | "array"),
        _ => false,
    };
    if holds_nothing {
        return Says::Unlisted;
    }
    let index = first.strip_prefix('_').and_then(|digits| digits.parse::<usize>().ok());
    if let Some(index) = index {
        let item = keywords
            .get("prefixItems")
            .and_then(|items| items.get(index))
            .or_else(|| keywords.get("items"));
        if let Some(item) = item {
            return says(root, item, rest, refs);
        }
    }
    if let Some(property) = keywords.get("properties").and_then(|properties| properties.get(first)) {
        return match says(root, property, rest, refs) {
            Says::Unlisted => Says::Unlisted,
            Says::Listed | Says::Nothing => Says::Listed,
        };
    }
    match keywords.get("additionalProperties") {
        _ if keywords.contains_key("patternProperties") => Says::Listed,
        Some(Value::Bool(true)) => Says::Listed,
        Some(Value::Bool(false)) => Says::Unlisted,
        Some(others) => says(root, others, rest, refs),
        None if keywords.contains_key("properties") => Says::Unlisted,
        None => Says::Nothing,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn kind_of_text(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// What serde_json says, without the place at its end.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
