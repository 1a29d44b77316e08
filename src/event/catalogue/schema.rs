//! One version of a type's schema: what it refuses, and which properties it lists.

use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde::Serialize;
use serde_json::{Value, json};

use super::accepts::Accepts;
use super::{example, place};
use crate::event::file::{FileError, Severity};
use crate::json::{kind, without_place};
use crate::nearest::did_you_mean;

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

/// What schemas say about a property.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Listed,
    Unlisted,
    Nothing,
}

impl Violation {
    /// Both texts are cut at 200 characters.
    pub(crate) fn new(pointer: &str, message: &str) -> Self {
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
            severity: Severity::Error,
        })?;
        let accepts = Accepts::of(&source).map_err(|error| {
            let pointer = error.instance_path().as_str();
            let message = format!("in the schema at {pointer:?}: {}", cut(&bad_keyword(&error, pointer)));
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

    /// A payload that it takes: with all that it lists, or with no more than it requires. None where none could be made.
    pub(super) fn example(&self, with_optional: bool) -> Option<Value> {
        let example = example::of(&self.source, with_optional);
        Some(example).filter(|example| self.accepts.takes(example))
    }

    /// What is wrong with a payload whatever stands at the pointers of `open`.
    pub(super) fn violation_besides(&self, payload: &Value, open: &[String]) -> Option<Violation> {
        let Accepts::Valid(validator) = &self.accepts else {
            return self.check_value(payload).err()?.into_iter().next();
        };
        let within = |outer: &str, inner: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_certain = |error: &ValidationError<'_>| {
            let place = error.instance_path().as_str();
            let is_of_names = matches!(
                error.kind(),
                ValidationErrorKind::Required { .. } | ValidationErrorKind::AdditionalProperties { .. }
            );
            !open.iter().any(|open| within(open, place))
                && (is_of_names || !open.iter().any(|open| within(place, open)))
        };
        let certain = validator.iter_errors(payload).find(is_certain);
        certain.map(|error| violation(&error))
    }

    /// The properties that are listed at `path`.
    pub(super) fn properties(&self, path: &[&str]) -> Vec<&str> {
        let mut schemas = everything(&self.source, &[&self.source]);
        for name in path {
            let behind: Vec<&Value> = schemas
                .iter()
                .filter_map(|schema| schema.get("properties")?.get(name))
                .collect();
            schemas = everything(&self.source, &behind);
        }
        let listed = schemas
            .iter()
            .filter_map(|schema| schema.get("properties")?.as_object());
        listed
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect()
    }

    /// Whether a property at `path` is listed, and may be missing all the same.
    pub(super) fn is_optional(&self, path: &[&str]) -> bool {
        is_optional(&self.source, &[&self.source], path, 0)
    }

    /// Whether a payload may have something at `path`: where properties are listed, only those are; a segment `_0` is an
    /// index of an array.
    pub(super) fn has_path(&self, path: &[&str]) -> bool {
        says(&self.source, &self.source, path, 0) != Says::Unlisted
    }
}

/// What is wrong with a keyword of a schema.
fn bad_keyword(error: &ValidationError<'_>, pointer: &str) -> String {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let found = error.instance();
    match (error.kind(), &**found) {
        (ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::Enum { .. }, Value::String(name))
            if pointer.ends_with("/type") =>
        {
            let meant = did_you_mean(name, TYPES);
            format!(
                "found {name:?}, expected one of {}, or an array of them{meant}",
                TYPES.join(", ")
            )
        }
        (ValidationErrorKind::AnyOf { .. }, found) => {
            let keyword = pointer.rsplit('/').next().unwrap_or_default();
            format!("found {}, which {keyword} does not take", cut(&found.to_string()))
        }
        _ => error.to_string(),
    }
}

fn violations(validator: &Validator, payload: &Value) -> Result<(), Vec<Violation>> {
    if validator.is_valid(payload) {
        return Ok(());
    }
    let found = validator.iter_errors(payload).take(MAX_VIOLATIONS);
    Err(found.map(|error| violation(&error)).collect())
}

fn violation(error: &ValidationError<'_>) -> Violation {
    let pointer = format!("/payload{}", error.instance_path().as_str());
    let message = error.masked_with(kind(error.instance())).to_string();
    Violation::new(&pointer, &message)
}

/// The schemas, and those that count with them: of `$ref` and `allOf`, up to a bound.
fn everything<'a>(root: &'a Value, schemas: &[&'a Value]) -> Vec<&'a Value> {
    let mut all: Vec<&Value> = Vec::new();
    let mut open = schemas.to_vec();
    while let Some(schema) = open.pop() {
        if all.len() == MAX_REFS {
            break;
        }
        all.push(schema);
        let reference = schema.get("$ref").and_then(Value::as_str);
        open.extend(reference.and_then(|reference| root.pointer(reference.strip_prefix('#')?)));
        open.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten());
    }
    all
}

/// Whether the first of `path` is listed by one of `schemas`, which all count, and required by none; or so is what is
/// behind it.
fn is_optional(root: &Value, schemas: &[&Value], path: &[&str], refs: usize) -> bool {
    let [first, rest @ ..] = path else { return false };
    if refs > MAX_REFS {
        return false;
    }
    let all = everything(root, schemas);
    let listing: Vec<&Value> = all
        .iter()
        .filter_map(|schema| schema.get("properties")?.get(first))
        .collect();
    if listing.is_empty() {
        return false;
    }
    let requires = |schema: &&Value| {
        let required = schema.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|name| name == first))
    };
    !all.iter().any(requires) || is_optional(root, &listing, rest, refs + 1)
}

/// What the schemas say about `path`; one that says nothing at all permits it.
fn says(root: &Value, schema: &Value, path: &[&str], refs: usize) -> Says {
    let ([first, rest @ ..], Value::Object(keywords)) = (path, schema) else {
        return if *schema == Value::Bool(false) {
            Says::Unlisted
        } else {
            Says::Listed
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

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
