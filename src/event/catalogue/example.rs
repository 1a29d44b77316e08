//! A payload that a schema takes: what is made of it is tried before the first such event comes.

use serde_json::{Map, Number, Value, json};

use super::accepts::Accepts;

/// Schemas are followed at most this deep.
const MAX_DEPTH: usize = 8;

/// Texts are at most this long, and arrays.
const MAX_LENGTH: usize = 1_000;
const MAX_ITEMS: usize = 16;

/// What texts look like where a schema has a pattern: the first that fits.
const SHAPES: [&str; 16] = [
    "example",
    "Example",
    "EUR",
    "DE",
    "en",
    "1",
    "10042",
    "A1",
    "abc-123",
    "ABC-123",
    "1.00",
    "2026-01-31",
    "+4930123456",
    "ada@example.com",
    "https://example.com/",
    "7f3c1f0e-9a44-4f6e-8a51-0d6f3a2b9c10",
];

/// A payload with all that the schema lists, or with no more than it requires. Whether the schema takes it is to be
/// asked: not every schema can be met like this.
pub(super) fn of(schema: &Value, with_optional: bool) -> Value {
    let maker = Maker {
        root: schema,
        with_optional,
    };
    maker.value(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    with_optional: bool,
}

impl Maker<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        let Value::Object(keywords) = schema else {
            return Value::from("example");
        };
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(value) = keywords.get("const").or_else(|| keywords.get("default")) {
            return value.clone();
        }
        for list in ["examples", "enum"] {
            if let Some(first) = keywords.get(list).and_then(|values| values.get(0)) {
                return first.clone();
            }
        }
        let others = self.others(keywords);
        match kind(keywords) {
            None if !others.is_empty() => merged(others.into_iter().map(|other| self.value(other, depth + 1))),
            None => Value::from("example"),
            Some("object") => {
                let own = self.object(keywords, depth);
                merged(
                    others
                        .into_iter()
                        .map(|other| self.value(other, depth + 1))
                        .chain([own]),
                )
            }
            Some("array") => self.array(keywords, depth),
            Some("integer" | "number") => number(keywords),
            Some("boolean") => Value::Bool(true),
            Some("null") => Value::Null,
            Some(_) => text(keywords),
        }
    }

    /// The schemas that count beside the keywords; of alternatives the first.
    fn others<'s>(&'s self, keywords: &'s Map<String, Value>) -> Vec<&'s Value> {
        let of_ref = keywords
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
        let all = keywords.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let alternatives = ["anyOf", "oneOf"].into_iter();
        let first = alternatives.filter_map(|name| keywords.get(name).and_then(|schemas| schemas.get(0)));
        of_ref.into_iter().chain(all).chain(first).collect()
    }

    fn object(&self, keywords: &Map<String, Value>, depth: usize) -> Value {
        let mut object = Map::new();
        let required: Vec<&str> = keywords
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, schema) in keywords
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if self.with_optional || required.contains(&name.as_str()) {
                object.insert(name.clone(), self.value(schema, depth + 1));
            }
        }
        for name in required {
            object.entry(name).or_insert_with(|| Value::from("example"));
        }
        Value::Object(object)
    }

    fn array(&self, keywords: &Map<String, Value>, depth: usize) -> Value {
        let least = keywords.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let least = usize::try_from(least).unwrap_or(MAX_ITEMS);
        let wanted = least.max(usize::from(self.with_optional)).min(MAX_ITEMS);
        let first = keywords.get("prefixItems").and_then(Value::as_array);
        let items = (0..wanted).map(|index| {
            let schema = first
                .and_then(|schemas| schemas.get(index))
                .or_else(|| keywords.get("items"));
            self.value(schema.unwrap_or(&Value::Bool(true)), depth + 1)
        });
        items.collect()
    }
}

/// The kind of value that the keywords are about; of several the first that is not null.
fn kind(keywords: &Map<String, Value>) -> Option<&str> {
    match keywords.get("type") {
        Some(Value::String(kind)) => return Some(kind),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            return kinds.reduce(|first, next| if first == "null" { next } else { first });
        }
        _ => {}
    }
    let says = |names: &[&str]| names.iter().any(|name| keywords.contains_key(*name));
    if says(&["properties", "required", "additionalProperties"]) {
        Some("object")
    } else if says(&["items", "prefixItems", "minItems"]) {
        Some("array")
    } else if says(&[
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ]) {
        Some("number")
    } else if says(&["pattern", "format", "minLength", "maxLength"]) {
        Some("string")
    } else {
        None
    }
}

fn number(keywords: &Map<String, Value>) -> Value {
    let limit = |name: &str| keywords.get(name).and_then(Value::as_f64);
    let step = limit("multipleOf").unwrap_or(1.0);
    let mut number = step;
    if let Some(least) = limit("minimum").filter(|least| number < *least) {
        number = (least / step).ceil() * step;
    }
    if let Some(least) = limit("exclusiveMinimum").filter(|least| number <= *least) {
        number = ((least / step).floor() + 1.0) * step;
    }
    if let Some(most) = limit("maximum").filter(|most| number > *most) {
        number = (most / step).floor() * step;
    }
    if let Some(most) = limit("exclusiveMaximum").filter(|most| number >= *most) {
        number = ((most / step).ceil() - 1.0) * step;
    }
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return json!(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn text(keywords: &Map<String, Value>) -> Value {
    let of_format = match keywords.get("format").and_then(Value::as_str) {
        Some("date-time") => Some("2026-01-31T12:00:00Z"),
        Some("date") => Some("2026-01-31"),
        Some("time") => Some("12:00:00Z"),
        Some("duration") => Some("P1D"),
        Some("email") => Some("ada@example.com"),
        Some("hostname") => Some("example.com"),
        Some("ipv4") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        Some("uri" | "uri-reference" | "iri") => Some("https://example.com/"),
        Some("uuid") => Some("7f3c1f0e-9a44-4f6e-8a51-0d6f3a2b9c10"),
        _ => None,
    };
    if let Some(text) = of_format {
        return Value::from(text);
    }
    if keywords.contains_key("pattern") {
        let accepts = Accepts::of(&Value::Object(keywords.clone()));
        let fits = |text: &&&str| {
            let accepts = accepts.as_ref();
            accepts.is_ok_and(|accepts| accepts.takes(&Value::from(**text)))
        };
        return Value::from(*SHAPES.iter().find(fits).unwrap_or(&SHAPES[0]));
    }
    let length = |name: &str| {
        let length = keywords.get(name).and_then(Value::as_u64);
        length.map(|length| usize::try_from(length).unwrap_or(MAX_LENGTH).min(MAX_LENGTH))
    };
    let mut text = SHAPES[0].to_owned();
    while text.len() < length("minLength").unwrap_or(0) {
        text.push('x');
    }
    text.truncate(length("maxLength").unwrap_or(MAX_LENGTH));
    Value::from(text)
}

/// One object of all; where not all are objects, the last value.
fn merged(values: impl Iterator<Item = Value>) -> Value {
    let merge = |all: Value, next: Value| match (all, next) {
        (Value::Object(mut all), Value::Object(next)) => {
            all.extend(next);
            Value::Object(all)
        }
        (_, next) => next,
    };
    values.reduce(merge).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_is_what_the_schema_takes() {
        let schema = json!({
            "type": "object",
            "required": ["id", "at", "sku"],
            "$defs": {"money": {"type": "object", "required": ["amount"], "properties": {
                "amount": {"type": "number", "exclusiveMinimum": 10, "multipleOf": 0.5},
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}},
            "properties": {
                "id": {"type": "string", "minLength": 20},
                "at": {"type": "string", "format": "date-time"},
                "sku": {"enum": ["A", "B"]},
                "total": {"$ref": "#/$defs/money"},
                "lines": {"type": "array", "minItems": 2, "items": {"type": ["null", "integer"], "maximum": -3}},
                "either": {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
                "short": {"type": "string", "maxLength": 3}
            },
            "allOf": [{"required": ["source"], "properties": {"source": {"const": "shop"}}}],
            "additionalProperties": true
        });
        let accepts = Accepts::of(&schema).unwrap();
        for with_optional in [true, false] {
            let example = of(&schema, with_optional);
            assert!(accepts.takes(&example), "{example}");
            assert_eq!(example.get("total").is_some(), with_optional);
        }
    }
}
