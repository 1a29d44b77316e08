//! Reads a request body as JSON: bounded in nesting, and refusing keys that are given twice with two values.

use std::fmt;

use crate::json::without_place;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may stand in each other; the root counts as one level.
const MAX_NESTING: usize = 128;

/// A body that is not JSON, with the place where reading it stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub(crate) struct BadJson {
    /// What was found there, or expected.
    pub reason: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1; 0 where the line has just begun.
    pub column: usize,
}

/// Reads `body` as one JSON value in UTF-8, with or without a byte order mark.
///
/// A key that is given twice with equal values is read once.
///
/// # Errors
/// [`BadJson`] for anything RFC 8259 does not allow, a key given twice with values that differ, nesting past
/// [`MAX_NESTING`], or a number outside the range of a double.
pub(super) fn read(body: &[u8]) -> Result<Value, BadJson> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader.disable_recursion_limit();
    let read = Nested(MAX_NESTING)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| BadJson {
        reason: without_place(&error),
        line: error.line(),
        column: error.column(),
    })
}

/// Reads one value that may hold this many more levels.
#[derive(Clone, Copy)]
struct Nested(usize);

impl Nested {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| E::custom(format_args!("nesting past {MAX_NESTING} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(inner)?;
            match object.entry(key) {
                serde_json::map::Entry::Vacant(free) => {
                    free.insert(value);
                }
                serde_json::map::Entry::Occupied(taken) if *taken.get() == value => {}
                serde_json::map::Entry::Occupied(taken) => {
                    return Err(de::Error::custom(format_args!(
                        "key {:?} is given twice, with values that differ",
                        taken.key()
                    )));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nesting_is_read_to_the_limit_and_refused_past_it() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_NESTING).as_bytes()).is_ok());
        let refused = read(nested(MAX_NESTING + 1).as_bytes()).unwrap_err();
        assert_eq!(refused.reason, "nesting past 128 levels");
        assert!(read(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn key_given_twice_is_refused_only_when_the_values_differ() {
        assert!(read(br#"{"a": 1, "a": 1}"#).is_ok());
        let refused = read(b"{\"a\": 1,\n \"a\": 2}").unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"key "a" is given twice, with values that differ at line 2 column 8"#
        );
    }

    #[test]
    fn place_and_reason_are_told() {
        assert_eq!(
            read(b"").unwrap_err().to_string(),
            "EOF while parsing a value at line 1 column 0"
        );
        assert_eq!(
            read(b"{} x").unwrap_err().to_string(),
            "trailing characters at line 1 column 4"
        );
        assert_eq!(read(b"\"\xff\"").unwrap_err().reason, "invalid unicode code point");
        assert!(read(b"\xef\xbb\xbf{}").is_ok());
        assert_eq!(read(br#""\u0000""#).unwrap(), Value::String("\0".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read(&bytes).is_ok();
        }

        #[test]
        fn agrees_with_the_plain_reader(text in r#"[\[\]{}:,"a-c0-9.eE+ \\n-]{0,40}"#) {
            let plain = serde_json::from_str::<Value>(&text);
            match read(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(value, plain.unwrap()),
                Err(bad) => prop_assert!(plain.is_err() || bad.reason.contains("given twice")),
            }
        }
    }
}
