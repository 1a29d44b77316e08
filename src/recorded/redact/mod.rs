//! Puts stand-ins in the place of personal data, in a request and its reply alike.
//!
//! The same value gets the same stand-in for as long as a [`Redactor`] lives, upper or lower case. Replaced are:
//!
//! * ids: what follows `/sessions/` and `/users/` in a session's name, `responseId` and `detectIntentResponseId`;
//! * in any text: e-mail addresses, phone numbers, card numbers, IP addresses, tokens;
//! * what stands under a key named like a person's name, an address, a phone, a PIN, a password, a token, a date of
//!   birth, a passport, …;
//! * the ids of users, customers and the like, in parameters and in what the platform passes along;
//! * each of these values again, wherever else it stands in the turn as a word of its own.
//!
//! What a user said in other words is not found: a look is needed before a recorded turn is shared.

mod place;
mod stand_in;
mod text;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};

use self::place::{Class, Place, each_scalar};
use self::stand_in::Kind;

/// Replaces personal data; remembers its stand-ins.
#[derive(Default)]
pub(crate) struct Redactor {
    /// What is known to be personal, in lower case.
    known: HashMap<String, Kind>,
    /// Those of `known` that are looked for in all text, the longest first.
    sought: Vec<Vec<char>>,
    stand_ins: HashMap<String, String>,
    given: HashSet<String>,
    counts: HashMap<Kind, u64>,
}

impl Redactor {
    /// Redacts a request and its reply.
    pub(crate) fn redact(&mut self, request: &mut Value, reply: &mut Value) {
        // All that is personal is known before the first stand-in is chosen: a reply may repeat what only the
        // request tells to be a name.
        self.learn(request, Place::Request);
        self.learn(reply, Place::Reply);
        self.sought.sort_by_key(|word| std::cmp::Reverse(word.len()));
        self.replace(request, Place::Request);
        self.replace(reply, Place::Reply);
    }

    fn learn(&mut self, value: &mut Value, place: Place) {
        each_scalar(value, place, &mut |class, scalar| {
            let Some(text) = canonical(scalar) else { return };
            match class {
                Class::Frame | Class::Text => {
                    for (kind, id) in ids_in_name(&text) {
                        self.know(kind, id);
                    }
                }
                Class::Name => words(&text).for_each(|word| self.know(Kind::Value, word)),
                Class::Secret => self.know(text::kind(&text).unwrap_or(Kind::Value), &text),
                Class::ResponseId => self.know(Kind::Response, &text),
            }
        });
    }

    fn replace(&mut self, value: &mut Value, place: Place) {
        each_scalar(value, place, &mut |class, scalar| {
            if let Value::Number(number) = scalar {
                self.replace_number(class, number);
            }
            let Value::String(text) = scalar else { return };
            *text = match class {
                _ if is_name(text) => self.in_name(text),
                Class::Frame => return,
                Class::Text => self.in_text(text),
                Class::Name => self.each_word(text),
                Class::Secret | Class::ResponseId => self.whole(text),
            };
        });
        self.replace_keys(value);
    }

    fn replace_number(&mut self, class: Class, number: &mut Number) {
        let text = digits(number);
        let sought = self.sought.iter().any(|word| word.iter().copied().eq(text.chars()));
        let is_personal = match class {
            Class::Frame => false,
            Class::Text => sought,
            Class::Name | Class::Secret | Class::ResponseId => true,
        };
        if is_personal {
            let stand_in = self.whole(&text);
            *number = stand_in.parse::<i64>().map_or_else(|_| 0.into(), Number::from);
        }
    }

    /// Keys are the platform's or the author's own; only what cannot be such a one is replaced.
    fn replace_keys(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                let entries = std::mem::take(object).into_iter();
                let entries = entries.map(|(key, mut value)| {
                    self.replace_keys(&mut value);
                    match text::kind(&key) {
                        Some(kind @ (Kind::Email | Kind::Phone | Kind::Card)) => (self.stand_in(kind, &key), value),
                        _ => (key, value),
                    }
                });
                *object = entries.collect::<Map<_, _>>();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace_keys(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn know(&mut self, kind: Kind, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        let lower = value.to_lowercase();
        if self.known.contains_key(&lower) {
            return;
        }
        // Shorter ones stand for other things, too often.
        let least = if lower.chars().any(char::is_alphabetic) { 2 } else { 3 };
        let letters: Vec<char> = lower.chars().collect();
        if letters.len() >= least {
            self.sought.push(letters);
        }
        self.known.insert(lower, kind);
    }

    /// A session's or a context's name keeps its shape.
    fn in_name(&mut self, name: &str) -> String {
        let mut before = "";
        let mut parts = Vec::new();
        for part in name.split('/') {
            parts.push(match id_kind(before) {
                Some(kind) if part != "-" => self.stand_in(kind, part),
                _ => part.to_owned(),
            });
            before = part;
        }
        parts.join("/")
    }

    fn in_text(&mut self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let lower: Vec<char> = chars.iter().map(|c| lowered(*c)).collect();
        let mut replaced = String::with_capacity(text.len());
        let mut at = 0;
        while at < chars.len() {
            let sought = self.sought_at(&lower, at).map(|length| (length, Kind::Value));
            let found = text::at(&chars, at);
            let first = match (sought, found) {
                // Where a number ends is a guess; what is known is not.
                (Some(sought), Some((_, Kind::Phone | Kind::Card))) => Some(sought),
                (sought, found) => found.into_iter().chain(sought).max_by_key(|(length, _)| *length),
            };
            match first {
                Some((length, kind)) => {
                    let value: String = chars[at..at + length].iter().collect();
                    replaced += &self.stand_in(kind, &value);
                    at += length;
                }
                None => {
                    replaced.push(chars[at]);
                    at += 1;
                }
            }
        }
        replaced
    }

    /// How long the known value is that begins at `at`.
    fn sought_at(&self, lower: &[char], at: usize) -> Option<usize> {
        let is_there = |word: &&Vec<char>| {
            lower[at..].starts_with(word) && text::is_edge(lower, at) && text::is_edge(lower, at + word.len())
        };
        self.sought.iter().find(is_there).map(Vec::len)
    }

    fn each_word(&mut self, text: &str) -> String {
        let mut replaced = String::new();
        for piece in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
            if !word.is_empty() {
                replaced += &self.stand_in(Kind::Value, word);
            }
            replaced += &piece[word.len()..];
        }
        replaced
    }

    fn whole(&mut self, text: &str) -> String {
        let value = text.trim();
        if value.is_empty() {
            return text.to_owned();
        }
        self.stand_in(Kind::Value, value)
    }

    /// The stand-in for `value`; `kind` where it is not known for another.
    fn stand_in(&mut self, kind: Kind, value: &str) -> String {
        let lower: String = value.to_lowercase();
        if let Some(stand_in) = self.stand_ins.get(&lower) {
            return stand_in.clone();
        }
        let kind = self.known.get(&lower).copied().unwrap_or(kind);
        let count = self.counts.entry(kind).or_default();
        let mut stand_in = String::new();
        // One letter has few stand-ins: after a while one is given twice.
        for _ in 0..1_000 {
            *count += 1;
            stand_in = kind.stand_in(value, *count);
            let candidate = stand_in.to_lowercase();
            if candidate != lower && !self.known.contains_key(&candidate) && !self.given.contains(&candidate) {
                break;
            }
        }
        self.given.insert(stand_in.to_lowercase());
        self.stand_ins.insert(lower, stand_in.clone());
        stand_in
    }
}

fn lowered(c: char) -> char {
    // A letter that becomes two stays as it is, so that places in the text stay the same.
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}

/// The text of a string or number.
fn canonical(scalar: &Value) -> Option<String> {
    match scalar {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(digits(number)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As a person would write it: 7.0 is 7.
fn digits(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// Whether `text` is a resource's name, as that of a session, context or intent.
fn is_name(text: &str) -> bool {
    text.starts_with("projects/") && text.contains("/sessions/") && !text.contains(char::is_whitespace)
}

fn ids_in_name(text: &str) -> Vec<(Kind, &str)> {
    if !is_name(text) {
        return Vec::new();
    }
    let pairs = text.split('/').zip(text.split('/').skip(1));
    pairs
        .filter_map(|(before, id)| Some((id_kind(before)?, id)))
        .filter(|(_, id)| *id != "-")
        .collect()
}

fn id_kind(before: &str) -> Option<Kind> {
    match before {
        "sessions" => Some(Kind::Session),
        "users" => Some(Kind::User),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
