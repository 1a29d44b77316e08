//! What is wrong with the source of an expression, and why there is no result.

use minijinja::{Error, ErrorKind};

use super::product;

/// A result is at most this long, in bytes.
pub(crate) const MAX_OUTPUT: usize = 64 * 1024;

/// Source that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct BadSource {
    /// Where, in bytes from its start.
    pub(crate) offset: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// Why there is no result; one line that holds no value of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EvalError(pub(crate) String);

impl BadSource {
    pub(super) fn of(error: &Error, source: &str) -> Self {
        Self {
            offset: error.range().map_or(0, |range| range.start.min(source.len())),
            message: describe(error),
        }
    }
}

impl EvalError {
    pub(super) fn of(error: &Error, source: &str) -> Self {
        if error.kind() == ErrorKind::WriteFailure {
            return Self(format!(
                "found more than {MAX_OUTPUT} bytes of text, expected at most those"
            ));
        }
        if let (ErrorKind::UndefinedError, Some(detail)) = (error.kind(), error.detail()) {
            return Self(short(detail));
        }
        let part = error.range().and_then(|range| source.get(range)).unwrap_or(source);
        Self(format!(
            "{} in `{}`",
            describe(error),
            short(&product::as_written(part))
        ))
    }
}

/// What minijinja says, without the made-up file name.
fn describe(error: &Error) -> String {
    match error.detail() {
        // It goes on with the numbers, which are the event's.
        Some(detail) if detail.starts_with("unable to calculate") => {
            format!("{}: the result is no number that there is", error.kind())
        }
        Some(
            "strings can only be multiplied with integers"
            | "sequences and iterables can only be multiplied with integers",
        ) => {
            format!("{}: only numbers can be multiplied", error.kind())
        }
        Some(detail) => format!("{}: {}", error.kind(), short(detail)),
        None => error.kind().to_string(),
    }
}

/// One line, cut at 100 characters.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
