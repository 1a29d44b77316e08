//! Personal data that shows by its form: addresses, numbers and tokens in running text.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::stand_in::{Kind, luhn_sum};

/// The longest that one may be, in characters, so that reading a text stays quick; tokens may be longer.
const LONGEST: usize = 320;

/// What stands in a token beside letters and digits (RFC 6750), but for a slash, which stands in paths, too.
const TOKEN_MARKS: &str = "_-.~+";

/// What `text` is as a whole.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let chars: Vec<char> = text.trim().chars().collect();
    let (length, kind) = at(&chars, 0)?;
    (length == chars.len()).then_some(kind)
}

/// What begins at `at`, and how long it is.
pub(super) fn at(text: &[char], at: usize) -> Option<(usize, Kind)> {
    let first = *text.get(at)?;
    if !(is_edge(text, at) || first == '+') {
        return None;
    }
    let rest = &text[at..text.len().min(at + LONGEST)];
    let before = at.checked_sub(1).map_or(' ', |before| text[before]);
    let found = [
        email(rest).map(|length| (length, Kind::Email)),
        ip(rest),
        number(rest).filter(|_| !"-_.".contains(before)),
        // Within one, none begins: a long text is read once.
        if TOKEN_MARKS.contains(before) {
            None
        } else {
            token(&text[at..])
        }
        .map(|length| (length, Kind::Token)),
    ];
    found.into_iter().flatten().max_by_key(|(length, _)| *length)
}

/// Whether a word may begin or end at `at`. Scripts without case write their words without spaces.
pub(super) fn is_edge(text: &[char], at: usize) -> bool {
    let joins = |c: &char| c.is_numeric() || c.is_lowercase() || c.is_uppercase();
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    !(before.is_some_and(joins) && text.get(at).is_some_and(joins))
}

fn run(text: &[char], belongs: impl Fn(char) -> bool) -> usize {
    text.iter().take_while(|c| belongs(**c)).count()
}

fn email(text: &[char]) -> Option<usize> {
    let local = run(text, |c| c.is_alphanumeric() || "._%+-'".contains(c));
    if local == 0 || text.get(local) != Some(&'@') {
        return None;
    }
    let host = &text[local + 1..];
    let mut length = run(host, |c| c.is_alphanumeric() || c == '.' || c == '-');
    while length > 0 && !host[length - 1].is_alphanumeric() {
        length -= 1;
    }
    host[..length].contains(&'.').then_some(local + 1 + length)
}

fn ip(text: &[char]) -> Option<(usize, Kind)> {
    let v4 = run(text, |c| c.is_ascii_digit() || c == '.');
    let v6 = run(text, |c| c.is_ascii_hexdigit() || c == ':' || c == '.');
    let read = |length: usize| {
        let part: String = text[..length].iter().collect();
        let part = part.trim_end_matches('.');
        (part.to_owned(), part.len())
    };
    let (part, length) = read(v6.min(64));
    if part.len() > 2 && part.parse::<Ipv6Addr>().is_ok() {
        return Some((length, Kind::IpV6));
    }
    let (part, length) = read(v4.min(64));
    part.parse::<Ipv4Addr>().is_ok().then_some((length, Kind::IpV4))
}

/// A card's or phone's number: digits, one or two separators between them.
fn number(text: &[char]) -> Option<(usize, Kind)> {
    if !text.first().is_some_and(|c| c.is_ascii_digit() || "+(".contains(*c)) {
        return None;
    }
    let mut digits = Vec::new();
    let mut groups = vec![0];
    let mut found = None;
    let international = text.first() == Some(&'+');
    let mut separators = 0;
    for (at, c) in text.iter().enumerate().take(40) {
        if let Some(digit) = c.to_digit(10) {
            digits.push(digit);
            if separators > 0 {
                groups.push(0);
            }
            separators = 0;
            if let Some(last) = groups.last_mut() {
                *last += 1;
            }
        } else if " -.()/".contains(*c) && separators < 2 {
            separators += 1;
            continue;
        } else if !(at == 0 && international) {
            break;
        }
        let joined = text.get(at + 1).is_some_and(|next| "-_".contains(*next));
        let next = text.get(at + 1 + usize::from(joined));
        let ends = next.is_none_or(|next| !next.is_alphanumeric());
        let count = digits.len();
        let is_card =
            (13..=19).contains(&count) && luhn_sum(&digits).is_multiple_of(10) && digits.iter().any(|digit| *digit > 0);
        let zeros = digits.starts_with(&[0, 0]) && digits.get(2).is_some_and(|digit| *digit > 0);
        let is_phone = (international && (7..=15).contains(&count))
            || (zeros && (10..=17).contains(&count))
            || matches!(groups.as_slice(), [3, 3, 4] | [0, 3, 3, 4]);
        if ends && is_phone {
            found = Some((at + 1, Kind::Phone));
        } else if ends && is_card && !international {
            found = Some((at + 1, Kind::Card));
        }
    }
    found
}

fn token(text: &[char]) -> Option<usize> {
    const SHORTEST: usize = 32;
    const PREFIXES: &[&str] = &[
        "eyJ", "sk_", "pk_", "rk_", "whsec_", "ghp_", "gho_", "xox", "AKIA", "AIza", "ya29.",
    ];
    let length = run(text, |c| c.is_ascii_alphanumeric() || TOKEN_MARKS.contains(c));
    let padding = run(&text[length..], |c| c == '=');
    let part: String = text[..length + padding].iter().collect();
    let part = part.trim_end_matches(['.', '-', '~']);
    if part.len() >= 16 && PREFIXES.iter().any(|prefix| part.starts_with(prefix)) {
        return Some(part.len());
    }
    let has = |of: fn(&char) -> bool| part.chars().any(|c| of(&c));
    let mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit);
    let hex = part.chars().all(|c| c.is_ascii_hexdigit()) && has(char::is_ascii_digit);
    (part.len() >= SHORTEST && (mixed || hex)).then_some(part.len())
}
