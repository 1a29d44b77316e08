//! Filters, tests and statements that there are not: minijinja would find the first two only when the expression is
//! evaluated, and has more statements than have a bound.

use minijinja::context;

use super::code::{Part, parts};
use super::error::BadSource;
use super::sandbox::ENVIRONMENT;

/// The statements that a template may have: with others a short text grows in each step.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// The first filter (`| name`), test (`is name`) or statement (`{% name`) in valid source that is not known. In a
/// template, only what stands between `{{` and `}}` or `{%` and `%}` is looked at.
pub(super) fn unknown_filter(source: &str, is_expression: bool) -> Option<BadSource> {
    let parts = parts(source, is_expression);
    let bytes = source.as_bytes();
    (0..bytes.len()).find_map(|at| match bytes[at] {
        _ if parts[at] == Part::Opening => unknown_statement(source, at),
        _ if parts[at] == Part::Text => None,
        b'|' => unknown(source, at + 1, "filter"),
        b'r' if !is_expression && is_word(source, at, "recursive") => Some(BadSource {
            offset: at,
            message: "found a recursive loop, expected none".to_owned(),
        }),
        b'i' if is_word(source, at, "is") => {
            let after = at + 2 + leading_space(&source[at + 2..]);
            let name = if is_word(source, after, "not") {
                after + 3
            } else {
                after
            };
            unknown(source, name, "test")
        }
        _ => None,
    })
}

fn unknown_statement(source: &str, at: usize) -> Option<BadSource> {
    let rest = source[at..]
        .strip_prefix("{%")?
        .trim_start_matches(['-', '+'])
        .trim_start();
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    (!STATEMENTS.contains(&&rest[..end])).then(|| BadSource {
        offset: source.len() - rest.len(),
        message: format!("unknown statement {}, expected if or for", &rest[..end]),
    })
}

fn unknown(source: &str, from: usize, what: &str) -> Option<BadSource> {
    let from = from + leading_space(source.get(from..)?);
    let rest = &source[from..];
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    let name = &rest[..end];
    if name.is_empty() {
        return None;
    }
    let is_known = ENVIRONMENT
        .compile_expression(if what == "filter" {
            "name is filter"
        } else {
            "name is test"
        })
        .and_then(|question| question.eval(context! { name }));
    match is_known {
        Ok(known) if known.is_true() => None,
        Ok(_) | Err(_) => Some(BadSource {
            offset: from,
            message: format!("unknown {what} {name}"),
        }),
    }
}

fn is_word(source: &str, at: usize, word: &str) -> bool {
    let begins = source[..at].chars().next_back().is_none_or(|c| !is_name(c) && c != '.');
    begins
        && source[at..]
            .strip_prefix(word)
            .is_some_and(|rest| rest.chars().next().is_some_and(|c| !is_name(c)))
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
