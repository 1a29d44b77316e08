//! Reads parameters as people and platforms write them: numbers as text, text as numbers, `""` for nothing.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde_json::{Map, Value};

/// A field that is missing or of another kind.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// The steps to it, the outermost first; none when it is no field.
    pub(super) path: Vec<Step>,
    /// Path, what was found, and what was expected; never the value itself.
    pub(super) reason: String,
}

/// Reads an object into `T`.
pub(super) fn read<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, Mismatch> {
    T::deserialize(Object(fields)).map_err(|error| {
        let path = error.path();
        let reason = if path.is_empty() {
            error.reason
        } else {
            format!("parameter {path}: {}", error.reason)
        };
        Mismatch {
            path: error.steps.into_iter().rev().collect(),
            reason,
        }
    })
}

/// What went wrong, and the steps that lead there, the innermost first.
#[derive(Debug)]
struct Wrong {
    reason: String,
    steps: Vec<Step>,
}

/// One step of the way to a value.
#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Item(index) => write!(f, "[{index}]"),
        }
    }
}

impl Wrong {
    fn because(reason: impl fmt::Display) -> Self {
        Self {
            reason: reason.to_string(),
            steps: Vec::new(),
        }
    }

    fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if matches!(step, Step::Field(_)) && !path.is_empty() {
                path.push('.');
            }
            path.push_str(&step.to_string());
        }
        path
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Wrong {}

/// The reason goes to the log, and what users say never does: only kinds and what a type expects are told.
impl de::Error for Wrong {
    fn custom<T: fmt::Display>(_: T) -> Self {
        // The words of somebody's type, which may quote the value.
        Self::because("found a value that its type does not take")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::because(format_args!("found {}, expected {expected}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::because(format_args!("found {}, expected {expected}", kind(&found)))
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        Self::because(format_args!("found {found} items, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::because(format_args!("found another text, expected {}", one_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::because(format_args!("found another field, expected {}", one_of(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::because("found nothing").under(Step::Field(field.to_owned()))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::because("found two").under(Step::Field(field.to_owned()))
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

/// What was found, by its kind: the value is the user's, and this text goes to the log.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        Unexpected::Bytes(_)
        | Unexpected::Unit
        | Unexpected::Option
        | Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_) => "something else",
    }
}

fn is_unfilled(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// An object; its unfilled fields are not there.
struct Object<'de>(&'de Map<String, Value>);

impl<'de> Deserializer<'de> for Object<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Fields::of(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Fields<'de> {
    rest: serde_json::map::Iter<'de>,
    value: Option<(&'de String, &'de Value)>,
}

impl<'de> Fields<'de> {
    fn of(object: &'de Map<String, Value>) -> Self {
        Self {
            rest: object.iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.value = self.rest.by_ref().find(|(_, value)| !is_unfilled(value));
        self.value
            .map(|(name, _)| seed.deserialize(name.as_str().into_deserializer()))
            .transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((name, value)) = self.value.take() else {
            return Err(Wrong::because("a value was read before its key"));
        };
        seed.deserialize(Lenient(value))
            .map_err(|error| error.under(Step::Field(name.clone())))
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some((index, value)) = self.rest.next() else {
            return Ok(None);
        };
        seed.deserialize(Lenient(value))
            .map(Some)
            .map_err(|error| error.under(Step::Item(index)))
    }
}

/// One value.
#[derive(Clone, Copy)]
struct Lenient<'de>(&'de Value);

/// The whole number that a value stands for.
fn whole(value: &Value) -> Option<i128> {
    let exact = |number: f64| (number.fract() == 0.0 && number.abs() < 1e18).then_some(number as i128);
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| number.as_f64().and_then(exact)),
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i64>()
                .ok()
                .map(i128::from)
                .or_else(|| text.parse::<f64>().ok().and_then(exact))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

macro_rules! whole_numbers {
    ($($deserialize:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match whole(self.0) {
                Some(number) => match i64::try_from(number) {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => match u64::try_from(number) {
                        Ok(number) => visitor.visit_u64(number),
                        Err(_) => self.deserialize_any(visitor),
                    },
                },
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_i64(number),
                (None, Some(number), _) => visitor.visit_u64(number),
                (None, None, number) => visitor.visit_f64(number.unwrap_or_default()),
            },
            // PostgreSQL takes it in no text, and no user can mean it.
            Value::String(text) if text.contains('\0') => {
                Err(Wrong::because("found a text that holds U+0000, expected one without"))
            }
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items {
                rest: items.iter().enumerate(),
            }),
            Value::Object(fields) => Object(fields).deserialize_any(visitor),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.as_str().map(|text| text.trim().parse::<f64>()) {
            Some(Ok(number)) => visitor.visit_f64(number),
            Some(Err(_)) | None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.as_str() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            Some(_) | None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match (self.0, whole(self.0)) {
            (Value::Number(_), Some(number)) => visitor.visit_string(number.to_string()),
            (Value::Number(number), None) => visitor.visit_string(number.to_string()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if is_unfilled(self.0) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_array() {
            return self.deserialize_any(visitor);
        }
        visitor.visit_seq(Items {
            rest: std::slice::from_ref(self.0).iter().enumerate(),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        // Never by position: a list is a list of such.
        if self.0.is_array() {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(text) => {
                let is = |variant: &&&str| variant.eq_ignore_ascii_case(text.trim());
                let variant = match variants.contains(&text.as_str()) {
                    true => text.as_str(),
                    false => variants.iter().find(is).copied().unwrap_or(text),
                };
                visitor.visit_enum(IntoDeserializer::<Wrong>::into_deserializer(variant))
            }
            Value::Object(fields) if fields.len() == 1 => {
                MapAccessDeserializer::new(Fields::of(fields)).deserialize_enum(name, variants, visitor)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier ignored_any
    }
}
