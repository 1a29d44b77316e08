//! A line that was typed: something said, or a command of the chat.

use serde_json::{Map, Value};

use crate::nearest::did_you_mean;

/// The commands, and what they do.
pub(super) const HELP: &[(&str, &str)] = &[
    (
        "/intent NAME key=value …",
        "a turn of this intent; values with blanks stand in \"…\", which makes any value text",
    ),
    ("/again", "the last line once more: for a reply that was late"),
    ("/contexts", "what is active, and for how many turns"),
    ("/session", "the session's full name"),
    ("/help", "this"),
    ("/quit", "ends it, as Ctrl-D does"),
];

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// The user says something.
    Said(String),
    /// A turn of an intent, with its parameters.
    Intent(String, Map<String, Value>),
    Again,
    Contexts,
    Session,
    Help,
    Quit,
    Nothing,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Self::Nothing);
        }
        if !line.starts_with('/') {
            return Ok(Self::Said(line.to_owned()));
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let alone = match command {
            "/intent" => return intent(rest.trim()),
            "/again" => Self::Again,
            "/contexts" => Self::Contexts,
            "/session" => Self::Session,
            "/help" => Self::Help,
            "/quit" | "/exit" => Self::Quit,
            _ => {
                let names = HELP.iter().filter_map(|(usage, _)| usage.split(' ').next());
                let all: Vec<&str> = names.clone().collect();
                let meant = did_you_mean(command, names);
                return Err(format!("found {command}, expected one of {}{meant}", all.join(", ")));
            }
        };
        match rest.trim() {
            "" => Ok(alone),
            rest => Err(format!("{command}: found {rest:?} behind it, expected nothing")),
        }
    }
}

/// `NAME key=value key="two words"`: the name goes to the first key, or stands in quotes, too.
fn intent(text: &str) -> Result<Line, String> {
    let tokens = tokens(text)?;
    let mut names = Vec::new();
    let mut parameters = Map::new();
    for token in tokens {
        match token {
            Token::Word(word) if parameters.is_empty() => names.push(word),
            Token::Word(word) => {
                return Err(format!(
                    "/intent: found {word:?} behind a parameter, expected key=value; {BLANKS}"
                ));
            }
            Token::Parameter(key, _) if key.is_empty() => {
                return Err("/intent: found = with no key before it, expected key=value".to_owned());
            }
            Token::Parameter(key, value) => {
                if parameters.insert(key.clone(), value).is_some() {
                    return Err(format!("/intent: found {key} twice, expected it once"));
                }
            }
        }
    }
    match names.join(" ") {
        name if name.is_empty() => Err("/intent: found no name, expected /intent NAME key=value …".to_owned()),
        name => Ok(Line::Intent(name, parameters)),
    }
}

/// What to do about blanks.
const BLANKS: &str = "a value with blanks stands in \"…\"";

enum Token {
    Word(String),
    Parameter(String, Value),
}

/// Words and parameters. Within quotes, `\"` is a quote and `\\` a backslash.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut signs = text.chars().peekable();
    while let Some(first) = signs.peek() {
        if first.is_whitespace() {
            signs.next();
            continue;
        }
        let (mut key, mut written, mut is_quoted) = (None, String::new(), false);
        while let Some(sign) = signs.next_if(|sign| !sign.is_whitespace()) {
            match sign {
                '"' => {
                    is_quoted = true;
                    written.push_str(&quoted(&mut signs)?);
                }
                '=' if key.is_none() && !is_quoted => key = Some(std::mem::take(&mut written)),
                sign => written.push(sign),
            }
        }
        tokens.push(match key {
            Some(key) => Token::Parameter(key, value(written, is_quoted)),
            None => Token::Word(written),
        });
    }
    Ok(tokens)
}

fn quoted(signs: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut text = String::new();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => return Ok(text),
            '\\' => text.extend(signs.next()),
            sign => text.push(sign),
        }
    }
    Err(format!(
        "/intent: found \" that no other closes after {text:?}; {BLANKS}"
    ))
}

/// A number, a list or an object as JSON; all else is text.
fn value(written: String, is_quoted: bool) -> Value {
    let json = serde_json::from_str::<Value>(&written).ok();
    match json.filter(|json| json.is_number() || json.is_array() || json.is_object()) {
        Some(json) if !is_quoted => json,
        Some(_) | None => written.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn parameters(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[rstest]
    #[case("/intent Hello", "Hello", json!({}))]
    #[case("/intent Say Hello to=Ada", "Say Hello", json!({"to": "Ada"}))]
    #[case("/intent \"a=b\" n=7 zero=007", "a=b", json!({"n": 7, "zero": "007"}))]
    #[case("/intent Hello to=\"two words\" pin=\"1234\"", "Hello", json!({"to": "two words", "pin": "1234"}))]
    #[case("/intent Hello to=\"a \\\"b\\\" \\\\\" list=[1,2]", "Hello", json!({"to": "a \"b\" \\", "list": [1, 2]}))]
    #[case("/intent Hello to= url=a?b=c", "Hello", json!({"to": "", "url": "a?b=c"}))]
    fn intent_is_read_with_its_parameters(#[case] line: &str, #[case] name: &str, #[case] expected: Value) {
        let read = Line::read(line).unwrap();
        assert_eq!(read, Line::Intent(name.to_owned(), parameters(expected)));
    }

    #[rstest]
    #[case("/intent", "/intent: found no name, expected /intent NAME key=value …")]
    #[case("/intent to=Ada", "/intent: found no name")]
    #[case(
        "/intent Hello to=two words",
        "/intent: found \"words\" behind a parameter, expected key=value"
    )]
    #[case("/intent Hello =7", "/intent: found = with no key before it")]
    #[case("/intent Hello a=1 a=2", "/intent: found a twice")]
    #[case("/intent Hello to=\"Ada", "/intent: found \" that no other closes after \"Ada\"")]
    #[case("/inten Hello", "found /inten, expected one of /intent, /again")]
    #[case("/quit now", "/quit: found \"now\" behind it, expected nothing")]
    fn wrong_line_is_told_what_was_expected(#[case] line: &str, #[case] said: &str) {
        let error = Line::read(line).unwrap_err();
        assert!(error.starts_with(said), "{error}");
    }

    #[test]
    fn what_begins_with_no_slash_is_said() {
        assert_eq!(
            Line::read("  hello there ").unwrap(),
            Line::Said("hello there".to_owned())
        );
        assert_eq!(Line::read(" ").unwrap(), Line::Nothing);
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "\\PC*") {
            Line::read(&line).ok();
            Line::read(&format!("/intent {line}")).ok();
        }

        #[test]
        fn any_text_can_be_given_in_quotes(value in "\\PC*") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = Line::read(&format!("/intent Hello to=\"{written}\"")).unwrap();
            prop_assert_eq!(read, Line::Intent("Hello".to_owned(), parameters(json!({"to": value}))));
        }
    }
}
