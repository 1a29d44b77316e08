//! What an action writes, sends or says: a TOML value in which strings are templates.

use std::collections::BTreeMap;
use std::fmt;

use minijinja::Value as Names;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use toml::Spanned;

use crate::event::id::{self, Id};
use crate::expression::{BadSource, EvalError, Expression, MAX_OUTPUT, Template, size};

/// A compiled value. A string that is one `{{ expression }}` keeps the type of its result; any other is text.
#[derive(Debug)]
pub(super) enum Content {
    Literal(Value),
    Expression(Expression),
    Text(Template),
    Array(Vec<Content>),
    Object(Vec<(String, Content)>),
}

/// A value as it stands in the file.
#[derive(Clone, Debug)]
pub(super) enum ContentFile {
    Literal(Value),
    Text(String),
    Array(Vec<Spanned<ContentFile>>),
    Table(BTreeMap<String, Spanned<ContentFile>>),
}

impl Content {
    /// Compiles one string.
    pub(super) fn text(source: &str) -> Result<Self, BadSource> {
        if !source.contains("{{") && !source.contains("{%") && !source.contains("{#") {
            return Ok(Self::Literal(Value::from(source)));
        }
        let inner = source
            .trim()
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"));
        if let Some(expression) = inner.and_then(|inner| Expression::compile(inner.trim()).ok()) {
            return Ok(Self::Expression(expression));
        }
        Template::compile(source).map(Self::Text)
    }

    /// Compiles a string that is a URL.
    pub(super) fn url(source: &str) -> Result<Self, BadSource> {
        let content = Self::text(source)?;
        if matches!(content, Self::Text(_)) {
            return Template::compile_url(source).map(Self::Text);
        }
        Ok(content)
    }

    /// The value.
    pub(super) fn eval(&self, names: &Names) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Expression(expression) => expression.eval(names)?,
            Self::Text(template) => Value::from(template.render(names)?),
            Self::Array(items) => Value::Array(items.iter().map(|item| item.eval(names)).collect::<Result<_, _>>()?),
            Self::Object(fields) => Value::Object(fields_of(fields, names)?),
        })
    }

    /// The value as text: of numbers and booleans too, but not of others.
    pub(super) fn eval_text(&self, names: &Names) -> Result<String, EvalError> {
        match self.eval(names)? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(yes) => Ok(yes.to_string()),
            Value::Null => Err(EvalError("found null, expected text".to_owned())),
            Value::Array(_) => Err(EvalError("found an array, expected text".to_owned())),
            Value::Object(_) => Err(EvalError("found an object, expected text".to_owned())),
        }
    }

    /// The value as text that can be the id of an entity, a user or a join.
    pub(super) fn eval_id(&self, names: &Names) -> Result<Id, EvalError> {
        let text = self.eval_text(names)?;
        let bytes = text.len();
        Id::parse("id", text).map_err(|_| {
            EvalError(format!(
                "found an id of {bytes} bytes, expected 1 to {} with no control characters",
                id::MAX
            ))
        })
    }

    /// The value as far as the file says it: null where an expression stands, whose JSON pointers are added to `open`.
    pub(super) fn written(&self, pointer: &str, open: &mut Vec<String>) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Expression(_) | Self::Text(_) => {
                open.push(pointer.to_owned());
                Value::Null
            }
            Self::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(index, item)| item.written(&format!("{pointer}/{index}"), open))
                    .collect()
            }
            Self::Object(fields) => Value::Object(written_fields(fields, pointer, open)),
        }
    }

    /// All variables it reads.
    pub(super) fn paths(&self) -> Vec<String> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Expression(expression) => expression.paths(),
            Self::Text(template) => template.paths(),
            Self::Array(items) => items.iter().flat_map(Self::paths).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.paths()).collect(),
        }
    }
}

/// What stands at `key`, as an object.
pub(super) fn object(key: &str, fields: &[(String, Content)], names: &Names) -> Result<Map<String, Value>, EvalError> {
    let fields = fields_of(fields, names).map_err(|error| error.about(key))?;
    let bounded = bounded(key, Value::Object(fields))?;
    Ok(if let Value::Object(fields) = bounded {
        fields
    } else {
        Map::new()
    })
}

/// The value that stands at `key`, unless it is too long.
pub(super) fn bounded(key: &str, value: Value) -> Result<Value, EvalError> {
    match size(&value) {
        ..=MAX_OUTPUT => Ok(value),
        too_long => Err(EvalError(format!(
            "{key}: found {too_long} bytes, expected at most {MAX_OUTPUT}"
        ))),
    }
}

/// All variables that the fields read.
pub(super) fn paths_of(fields: &[(String, Content)]) -> impl Iterator<Item = String> {
    fields.iter().flat_map(|(_, content)| content.paths())
}

fn fields_of(fields: &[(String, Content)], names: &Names) -> Result<Map<String, Value>, EvalError> {
    fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), value.eval(names)?)))
        .collect()
}

/// The fields as far as the file says them.
pub(super) fn written_fields(
    fields: &[(String, Content)],
    pointer: &str,
    open: &mut Vec<String>,
) -> Map<String, Value> {
    let fields = fields.iter().map(|(name, value)| {
        let token = name.replace('~', "~0").replace('/', "~1");
        (name.clone(), value.written(&format!("{pointer}/{token}"), open))
    });
    fields.collect()
}

impl EvalError {
    /// With the key that it is about.
    pub(super) fn about(self, key: &str) -> Self {
        Self(format!("{key}: {}", self.0))
    }
}

impl<'de> Deserialize<'de> for ContentFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = ContentFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean, array or table")
    }

    fn visit_bool<E>(self, value: bool) -> Result<ContentFile, E> {
        Ok(ContentFile::Literal(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ContentFile, E> {
        Ok(ContentFile::Literal(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<ContentFile, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("found no finite number, expected one"))?;
        Ok(ContentFile::Literal(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<ContentFile, E> {
        Ok(ContentFile::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ContentFile, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(ContentFile::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ContentFile, A::Error> {
        let mut table = BTreeMap::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name.starts_with("$__toml_private") {
                return Err(A::Error::custom("found a date, expected one in quotes"));
            }
            table.insert(name, fields.next_value()?);
        }
        Ok(ContentFile::Table(table))
    }
}
