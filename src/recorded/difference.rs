//! Whether a reply is the one expected, and if not, where the two differ.

use std::fmt;

use serde_json::{Map, Number, Value};
use similar::TextDiff;

/// How much of the reply is told by what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All: a key that is not expected is a difference.
    Whole,
    /// The parts that matter: keys that are not expected are not looked at.
    Parts,
}

/// A part that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// Where: `status`, or a path in the reply such as `reply.outputContexts[0].name`.
    pub(crate) path: String,
    /// What should have come; `None`: nothing.
    pub(crate) expected: Option<Value>,
    /// What came; `None`: nothing.
    pub(crate) came: Option<Value>,
}

/// An answer that is not the one expected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mismatch {
    /// Each part that differs.
    pub(crate) differences: Vec<Difference>,
    /// Unified diff of the replies' JSON, without the keys that do not matter; empty when they are equal.
    pub(crate) diff: String,
    /// Whether the file has no reply yet.
    pub(crate) no_reply_yet: bool,
}

impl Mismatch {
    /// Compares two replies; with no differences they match.
    pub(super) fn between(extent: Extent, expected: &Value, came: &Value) -> Self {
        let mut differences = Vec::new();
        compare(extent, "reply", Some(expected), Some(came), &mut differences);
        let diff = if differences.is_empty() {
            String::new()
        } else {
            unified(&pretty(expected), &pretty(&accepted(extent, expected, came)))
        };
        Self {
            differences,
            diff,
            no_reply_yet: false,
        }
    }

    /// A reply to a turn that has none yet.
    pub(super) fn unknown(came: &Value) -> Self {
        Self {
            differences: vec![Difference {
                path: "reply".to_owned(),
                expected: None,
                came: Some(came.clone()),
            }],
            diff: unified("", &pretty(came)),
            no_reply_yet: true,
        }
    }
}

/// What would have been expected of `came`, and is as near to `expected` as that allows.
pub(super) fn accepted(extent: Extent, expected: &Value, came: &Value) -> Value {
    match (expected, came) {
        (Value::Object(expected), Value::Object(came)) => {
            let kept = came
                .iter()
                .filter(|(key, _)| extent == Extent::Whole || expected.contains_key(*key));
            let kept: Map<_, _> = kept
                .map(|(key, came)| {
                    let value = expected
                        .get(key)
                        .map_or_else(|| came.clone(), |expected| accepted(extent, expected, came));
                    (key.clone(), value)
                })
                .collect();
            Value::Object(kept)
        }
        (Value::Array(expected), Value::Array(came)) => {
            let items = came.iter().enumerate().map(|(at, came)| {
                expected
                    .get(at)
                    .map_or_else(|| came.clone(), |expected| accepted(extent, expected, came))
            });
            items.collect()
        }
        (expected, came) if same_scalar(expected, came) => expected.clone(),
        (_, came) => came.clone(),
    }
}

fn compare(extent: Extent, path: &str, expected: Option<&Value>, came: Option<&Value>, found: &mut Vec<Difference>) {
    match (expected, came) {
        (Some(Value::Object(expected)), Some(Value::Object(came))) => {
            for (key, value) in expected {
                compare(extent, &below(path, key), Some(value), came.get(key), found);
            }
            if extent == Extent::Whole {
                for (key, value) in came.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                    compare(extent, &below(path, key), None, Some(value), found);
                }
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(came))) => {
            for at in 0..expected.len().max(came.len()) {
                compare(extent, &format!("{path}[{at}]"), expected.get(at), came.get(at), found);
            }
        }
        (Some(expected), Some(came)) if same_scalar(expected, came) => {}
        (expected, came) => found.push(Difference {
            path: path.to_owned(),
            expected: expected.cloned(),
            came: came.cloned(),
        }),
    }
}

fn below(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", Value::from(key))
    }
}

/// Numbers are compared by value: 7 is 7.0.
fn same_scalar(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (one, other) => one == other,
    }
}

fn same_number(one: &Number, other: &Number) -> bool {
    if one == other {
        return true;
    }
    if !one.is_f64() && !other.is_f64() {
        return false;
    }
    // A double may change in its last bit when it is written as text and read again.
    let last_bits = |one: f64, other: f64| (one - other).abs() <= one.abs() * (4.0 * f64::EPSILON);
    one.as_f64()
        .zip(other.as_f64())
        .is_some_and(|(one, other)| last_bits(one, other))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn unified(expected: &str, came: &str) -> String {
    TextDiff::from_lines(expected, came)
        .unified_diff()
        .context_radius(3)
        .header("expected", "came")
        .to_string()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, came) = (short(self.expected.as_ref()), short(self.came.as_ref()));
        write!(f, "{}: expected {expected}, came {came}", self.path)
    }
}

/// One line of JSON, cut where it is long.
fn short(value: Option<&Value>) -> String {
    const LONGEST: usize = 100;
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}…")
}
