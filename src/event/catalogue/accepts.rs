//! Which payloads a schema takes: nothing is asked of those that take all.

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// Which values a schema takes.
#[derive(Debug)]
pub(super) enum Accepts {
    Anything,
    AnyObject,
    Valid(Box<Validator>),
}

impl Accepts {
    /// Whether a value is valid.
    pub(super) fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Anything => true,
            Self::AnyObject => value.is_object(),
            Self::Valid(validator) => validator.is_valid(value),
        }
    }

    pub(super) fn of(schema: &Value) -> Result<Self, ValidationError<'static>> {
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
            Value::Bool(false) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Ok(Self::Valid(Box::new(validator)));
            }
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
