//! Takes fields out of a message in proto3 JSON: camelCase or snake_case, null as absent, numbers as text.

use serde_json::{Map, Value};

use crate::json::kind;
use crate::platform::not_a_turn::NotATurn;

/// The fields of one message, and where it stands in the request.
pub(super) struct Fields {
    fields: Map<String, Value>,
    path: &'static str,
    /// Which one of a repeated field.
    index: Option<usize>,
}

impl Fields {
    pub(super) fn root(fields: Map<String, Value>) -> Self {
        Self {
            fields,
            path: "",
            index: None,
        }
    }

    /// Whether the field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        value_of(&self.fields, name).is_some_and(|value| !value.is_null())
    }

    /// Takes the field's value; null is absent.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        match self.fields.get_mut(name).map(Value::take) {
            None | Some(Value::Null) if has_snake_case(&self.fields) => {
                let value = self.fields.get_mut(snake_case(name).as_str()).map(Value::take);
                value.filter(|value| !value.is_null())
            }
            value => value.filter(|value| !value.is_null()),
        }
    }

    /// Takes the sub-message at `path`, whose last step is its name in this message; absent and `[]` (how PHP writes
    /// an empty object) are an empty one.
    pub(super) fn message(&mut self, path: &'static str) -> Result<Self, NotATurn> {
        Ok(Self {
            fields: self.object(last_step(path))?,
            path,
            index: None,
        })
    }

    /// Takes the sub-message at `path`, as [`Fields::message`]; `None` where it is absent.
    pub(super) fn optional(&mut self, path: &'static str) -> Result<Option<Self>, NotATurn> {
        match self.has(last_step(path)) {
            true => self.message(path).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a free-form object, as [`Fields::message`].
    pub(super) fn object(&mut self, name: &str) -> Result<Map<String, Value>, NotATurn> {
        match self.value(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
            Some(other) => Err(wrong(&self.at(name), &other, "an object")),
        }
    }

    /// Takes a repeated message, as [`Fields::message`].
    pub(super) fn messages(&mut self, path: &'static str) -> Result<Vec<Self>, NotATurn> {
        let name = last_step(path);
        let items = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(Value::Object(object)) if object.is_empty() => return Ok(Vec::new()),
            Some(other) => return Err(wrong(&self.at(name), &other, "an array")),
        };
        let at = |index| format!("{}[{index}]", self.at(name));
        let read = items
            .into_iter()
            .enumerate()
            .filter(|(_, item)| !item.is_null())
            .map(|(index, item)| match item {
                Value::Object(fields) => Ok(Self {
                    fields,
                    path,
                    index: Some(index),
                }),
                Value::Array(items) if items.is_empty() => Ok(Self {
                    fields: Map::new(),
                    path,
                    index: Some(index),
                }),
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                    Err(wrong(&at(index), &other, "an object"))
                }
            });
        read.collect()
    }

    /// Takes a string; absent is empty.
    pub(super) fn text(&mut self, name: &str) -> Result<String, NotATurn> {
        match self.value(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong(&self.at(name), &other, "a string")),
        }
    }

    /// Takes an enum's name; a number is kept as its digits, `2.0` as `2`.
    pub(super) fn symbol(&mut self, name: &str) -> Result<String, NotATurn> {
        match self.value(name) {
            Some(Value::Number(number)) => Ok(number.as_f64().unwrap_or_default().to_string()),
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong(&self.at(name), &other, "an enum's name or number")),
        }
    }

    /// Takes a number: `7`, `7.0` and `"7"` are one.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, NotATurn> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) => match text.parse::<f64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(wrong(&self.at(name), &Value::String(text), "a number")),
            },
            Some(other) => Err(wrong(&self.at(name), &other, "a number")),
        }
    }

    /// Takes a boolean.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, NotATurn> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.at(name), &other, "true or false")),
        }
    }

    /// Path of a field of this message.
    pub(super) fn at(&self, name: &str) -> String {
        match self.index {
            Some(index) => format!("{}[{index}].{name}", self.path),
            None if self.path.is_empty() => name.to_owned(),
            None => format!("{}.{name}", self.path),
        }
    }
}

/// The field's value, in either spelling.
pub(super) fn value_of<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = fields.get(name);
    if value.is_none() && has_snake_case(fields) {
        fields.get(snake_case(name).as_str())
    } else {
        value
    }
}

/// Whether looking for the other spelling is worth it: hardly ever.
fn has_snake_case(fields: &Map<String, Value>) -> bool {
    fields.keys().any(|key| key.contains('_'))
}

fn last_step(path: &'static str) -> &'static str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}

/// A field that holds something else than it should.
pub(super) fn wrong(field: &str, found: &Value, expected: &str) -> NotATurn {
    let found = match found {
        Value::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => kind(found).to_owned(),
    };
    NotATurn::Field {
        field: field.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

/// A field that is not there.
pub(super) fn missing(field: &str, expected: &str) -> NotATurn {
    NotATurn::Field {
        field: field.to_owned(),
        found: "nothing".to_owned(),
        expected: expected.to_owned(),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
