//! What the reader of TOML says is wrong, in our words: what was found, and what was expected.

use crate::nearest::did_you_mean;

/// Methods of Python's texts, lists and tables, which people write where templates have a filter or a test, with that.
const METHODS: [(&str, &str); 16] = [
    ("upper", "|upper"),
    ("lower", "|lower"),
    ("title", "|title"),
    ("capitalize", "|capitalize"),
    ("strip", "|trim"),
    ("trim", "|trim"),
    ("replace", "|replace"),
    ("split", "|split"),
    ("join", "|join"),
    ("format", "|format"),
    ("startswith", "is startingwith"),
    ("endswith", "is endingwith"),
    ("items", "|items"),
    ("keys", "|list"),
    ("length", "|length"),
    ("toUpperCase", "|upper"),
];

/// What is to be written for a method, where templates have no methods.
pub(crate) fn instead_of_method(name: &str) -> Option<&'static str> {
    METHODS
        .iter()
        .find(|(method, _)| *method == name)
        .map(|(_, filter)| *filter)
}

/// What is wrong with an expression that is written as a template.
pub(crate) fn braces(expression: &str) -> Option<(usize, &'static str)> {
    let at = expression.find("{{").or_else(|| expression.find("{%"))?;
    Some((
        at,
        "found braces, expected an expression without them, such as payload.amount > 100",
    ))
}

/// The message of a reader of TOML.
pub(super) fn plain(message: &str) -> String {
    if let Some((found, expected)) = split(message, "unknown field `", "`, ") {
        return among("the key ", found, expected);
    }
    if let Some((found, expected)) = split(message, "unknown variant `", "`, ") {
        return among("", found, expected);
    }
    if let Some((name, _)) = split(message, "missing field `", "`") {
        return format!("found no {name}, expected it");
    }
    for begin in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) = split(message, begin, ", expected ") {
            return format!("found {}, expected {}", kind_of(found), kind_wanted(expected));
        }
    }
    match message {
        "wanted exactly 1 element, more than 1 element" => {
            "found several keys, expected one of them; each action has a [[do]] of its own".to_owned()
        }
        "wanted exactly 1 element, found 0 elements" => "found nothing, expected one key".to_owned(),
        other => other.to_owned(),
    }
}

fn split<'a>(message: &'a str, begin: &str, between: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(begin)?.split_once(between)
}

/// `expected` lists names, each between two backticks.
fn among(what: &str, found: &str, expected: &str) -> String {
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let meant = did_you_mean(found, known.iter().copied());
    match known.as_slice() {
        [] => format!("found {what}{found}, expected none"),
        [only] => format!("found {what}{found}, expected {only}{meant}"),
        _ => format!("found {what}{found}, expected one of {}{meant}", known.join(", ")),
    }
}

/// A value, as serde calls it.
fn kind_of(found: &str) -> String {
    match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer", number)) => format!("the number {}", number.trim_matches('`')),
        Some(("boolean", value)) => value.trim_matches('`').to_owned(),
        Some(("floating", number)) => format!("the number {}", number.trim_start_matches("point ").trim_matches('`')),
        _ => match found {
            "sequence" => "an array".to_owned(),
            "map" => "a table".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// A kind of values, as serde and Rust call it.
fn kind_wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" => "a text in quotes",
        "a sequence" => "an array, such as [\"..\", \"..\"]",
        "a map" | "map" => "a table, such as { name = .. }",
        "string or map" => "a table with one key",
        other if other.starts_with("struct ") || other.contains(" enum ") => "a table, such as { name = .. }",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::plain;

    #[rstest]
    #[case(
        "unknown field `fromat`, expected one of `priority`, `format`",
        "found the key fromat, expected one of priority, format (did you mean format?)"
    )]
    #[case("unknown field `x`, expected `text`", "found the key x, expected text")]
    #[case("unknown field `x`, there are no fields", "found the key x, expected none")]
    #[case(
        "unknown variant `carrier-pigeon`, expected one of `basic`, `bearer`",
        "found carrier-pigeon, expected one of basic, bearer"
    )]
    #[case("missing field `within`", "found no within, expected it")]
    #[case(
        "invalid type: string \"1MB\", expected usize",
        "found the text \"1MB\", expected a whole number, not below 0"
    )]
    #[case(
        "invalid value: integer `-1`, expected u64",
        "found the number -1, expected a whole number, not below 0"
    )]
    #[case(
        "invalid type: map, expected a sequence",
        "found a table, expected an array, such as [\"..\", \"..\"]"
    )]
    #[case(
        "invalid type: boolean `true`, expected a string",
        "found true, expected a text in quotes"
    )]
    #[case(
        "invalid type: floating point `1.5`, expected struct RuleFile",
        "found the number 1.5, expected a table, such as { name = .. }"
    )]
    #[case("expected a value", "expected a value")]
    fn message_says_what_was_found_and_expected(#[case] message: &str, #[case] wanted: &str) {
        assert_eq!(plain(message), wanted);
    }
}
