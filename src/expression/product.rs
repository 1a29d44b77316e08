//! Products: of numbers only, for minijinja repeats text and lists with a `*`, up to 100 MB.

use super::code::{Part, parts};

/// What stands behind each product: it changes no number, and nothing else can be multiplied by it.
const CHECK: &str = " * -1 * -1";

/// Words that end an operand.
const WORDS: [&str; 6] = ["and", "else", "if", "in", "not", "or"];

/// The source with a check behind each product. In a template, only what stands between `{{` and `}}` or `{%` and `%}` is
/// looked at.
pub(super) fn checked(source: &str, is_expression: bool) -> String {
    let is_code: Vec<bool> = parts(source, is_expression)
        .iter()
        .map(|part| *part == Part::Code)
        .collect();
    let bytes = source.as_bytes();
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_code[at] && bytes[at..].starts_with(b"**") {
            at += 1;
        } else if is_code[at] && bytes[at] == b'*' {
            ends.push(end_of_operand(source, &is_code, at + 1));
        }
        at += 1;
    }
    ends.sort_unstable();
    let mut checked = source.to_owned();
    for end in ends.into_iter().rev() {
        checked.insert_str(end, CHECK);
    }
    checked
}

/// Part of a checked source, as it was written.
pub(super) fn as_written(part: &str) -> String {
    // An error may be about the first half of a check.
    part.replace(CHECK, "").trim_end_matches(" * -1").to_owned()
}

/// Where the right side of a product ends that begins at `start`: with its filters, its tests and its powers.
fn end_of_operand(source: &str, is_code: &[bool], start: usize) -> usize {
    let bytes = source.as_bytes();
    let signs = |from: usize| {
        let is_sign = |at: &usize| {
            bytes
                .get(*at)
                .is_none_or(|byte| !byte.is_ascii_whitespace() && *byte != b'-')
        };
        (from..=bytes.len()).find(is_sign).unwrap_or(bytes.len())
    };
    let (mut at, mut depth) = (signs(start), 0_usize);
    while at < bytes.len() {
        if !is_code[at] {
            // In a string; or behind the expression.
            if depth == 0 && (bytes[at..].starts_with(b"}}") || bytes[at..].starts_with(b"%}")) {
                break;
            }
            at += 1;
            continue;
        }
        match bytes[at] {
            b'*' if bytes[at..].starts_with(b"**") => {
                at = signs(at + 2);
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' | b',' | b':' | b'*' | b'/' | b'%' | b'~' | b'+' | b'-' | b'=' | b'!' | b'<' | b'>'
                if depth == 0 =>
            {
                break;
            }
            b')' | b']' | b'}' => depth -= 1,
            byte if is_name(byte) => {
                let word = word(&source[at..]);
                let is_attribute = source[..at].trim_end().ends_with('.');
                if depth == 0 && !is_attribute && WORDS.contains(&word) {
                    break;
                }
                at += word.len();
                let next = &source[at..];
                if word == "is" && self::word(next.trim_start()) == "not" {
                    at += next.len() - next.trim_start().len() + "not".len();
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    start + source[start..at].trim_end().len()
}

fn word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    &text[..end]
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}
