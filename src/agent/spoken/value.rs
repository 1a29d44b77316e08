//! What words stand for: a number, a currency, an entry of the agent's, as Dialogflow resolves it.

use chrono::{Datelike as _, NaiveDate, NaiveTime, SecondsFormat, TimeZone as _};
use serde_json::{Number, Value, json};

use super::moment;
use super::reader::{Reader, number};
use super::words::Word;

/// What a parameter can be filled with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number,
    Integer,
    /// Digits, of which the first may be zeros.
    Sequence,
    Ordinal,
    Date,
    Time,
    DateTime,
    Currency,
    Money,
    Email,
    /// An entry of the agent's: its words, and the value they stand for.
    OneOf(Vec<(Vec<String>, String)>),
    /// Words as they were said.
    Any,
}

/// Names of ordinals from the first on; in German without their endings.
const ORDINALS: [&[&str]; 2] = [
    &[
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    ],
    &[
        "erste", "zweite", "dritte", "vierte", "fünfte", "sechste", "siebte", "achte", "neunte", "zehnte",
    ],
];

/// What currencies are called, and their codes.
const CURRENCIES: &[(&str, &str)] = &[
    ("€", "EUR"),
    ("euro", "EUR"),
    ("euros", "EUR"),
    ("$", "USD"),
    ("dollar", "USD"),
    ("dollars", "USD"),
    ("£", "GBP"),
    ("pound", "GBP"),
    ("pounds", "GBP"),
    ("pfund", "GBP"),
    ("¥", "JPY"),
    ("yen", "JPY"),
    ("franc", "CHF"),
    ("francs", "CHF"),
    ("franken", "CHF"),
    ("krona", "SEK"),
    ("kronor", "SEK"),
    ("zloty", "PLN"),
];

/// Codes that are currencies by themselves.
const CODES: &[&str] = &[
    "EUR", "USD", "GBP", "JPY", "CHF", "CAD", "AUD", "CNY", "INR", "SEK", "NOK", "DKK", "PLN", "CZK",
];

impl Kind {
    /// Whether any words will do.
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    /// The longest value that `words` begin with: of how many words, and what it is. (`Any` takes them all.)
    pub(super) fn read(&self, words: &[Word<'_>], reader: &Reader) -> Option<(usize, Value)> {
        let first = words.first()?;
        match self {
            Self::Number => {
                let number = number(&first.low, &reader.lang)?;
                Some((1, json_number(number)?))
            }
            Self::Integer => {
                let number = number(&first.low, &reader.lang)?;
                (number.fract() == 0.0).then_some(())?;
                Some((1, json_number(number)?))
            }
            Self::Sequence => {
                let is_digits = first.low.chars().all(|sign| sign.is_ascii_digit());
                is_digits.then(|| (1, first.low.as_str().into()))
            }
            Self::Ordinal => Some((1, ordinal(&first.low, reader)?.into())),
            Self::Date => {
                let (words, date) = moment::date(words, reader)?;
                Some((words, at(reader, date, NaiveTime::from_hms_opt(12, 0, 0)?)?.into()))
            }
            Self::Time => {
                let (words, time) = moment::time(words, reader)?;
                Some((words, at(reader, reader.now.date_naive(), time)?.into()))
            }
            Self::DateTime => date_time(words, reader),
            Self::Currency => Some((1, currency(first)?.into())),
            Self::Money => {
                let second = words.get(1)?;
                let (amount, code) = match number(&first.low, &reader.lang) {
                    Some(amount) => (amount, currency(second)?),
                    None => (number(&second.low, &reader.lang)?, currency(first)?),
                };
                Some((2, json!({"amount": json_number(amount)?, "currency": code})))
            }
            Self::Email => {
                let is_address = first
                    .low
                    .split_once('@')
                    .is_some_and(|(_, domain)| domain.contains('.'));
                is_address.then(|| (1, first.low.as_str().into()))
            }
            Self::OneOf(entries) => {
                let begins = |entry: &[String]| {
                    entry.len() <= words.len() && entry.iter().zip(words).all(|(one, word)| *one == word.low)
                };
                let found = entries.iter().filter(|(entry, _)| !entry.is_empty() && begins(entry));
                let (entry, value) = found.max_by_key(|(entry, _)| entry.len())?;
                Some((entry.len(), value.as_str().into()))
            }
            Self::Any => {
                let all: Vec<&str> = words.iter().map(|word| word.text).collect();
                Some((words.len(), all.join(" ").into()))
            }
        }
    }
}

/// A day, a time, or both, in either order.
fn date_time(words: &[Word<'_>], reader: &Reader) -> Option<(usize, Value)> {
    let noon = NaiveTime::from_hms_opt(12, 0, 0)?;
    let both = |words: usize, date, time| Some((words, json!({"date_time": at(reader, date, time)?})));
    if let Some((length, date)) = moment::date(words, reader) {
        return match moment::time(words.get(length..)?, reader) {
            Some((more, time)) => both(length + more, date, time),
            None => Some((length, at(reader, date, noon)?.into())),
        };
    }
    let (length, time) = moment::time(words, reader)?;
    match moment::date(words.get(length..)?, reader) {
        Some((more, date)) => both(length + more, date, time),
        None => Some((length, at(reader, reader.now.date_naive(), time)?.into())),
    }
}

fn at(reader: &Reader, date: NaiveDate, time: NaiveTime) -> Option<String> {
    (1..=9_999).contains(&date.year()).then_some(())?;
    let moment = reader
        .now
        .timezone()
        .from_local_datetime(&date.and_time(time))
        .earliest()?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Secs, false))
}

fn json_number(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number < 9e15 {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

fn ordinal(word: &str, reader: &Reader) -> Option<u64> {
    let digits = word.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let is_ordinal = ["st", "nd", "rd", "th"].contains(&&word[digits.len()..]);
    if is_ordinal || (reader.is_answer && digits == word) {
        return digits.parse().ok();
    }
    let [english, german] = ORDINALS;
    let stem = word.trim_end_matches(['n', 'r', 's', 'm']);
    let at = english.iter().position(|name| *name == word);
    let at = at.or_else(|| german.iter().position(|name| *name == stem))?;
    u64::try_from(at + 1).ok()
}

fn currency(word: &Word<'_>) -> Option<&'static str> {
    let code = CODES.iter().find(|code| **code == word.text);
    let named = || {
        CURRENCIES
            .iter()
            .find(|(name, _)| *name == word.low)
            .map(|(_, code)| code)
    };
    code.or_else(named).copied()
}
