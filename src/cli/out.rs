//! What a command prints for the one who ran it, on standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

/// Prints `text` and a line break.
///
/// # Errors
/// When standard output is closed: the command ends there, in order (see [`is_closed`]).
pub(super) fn print(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Prints what a service says of itself. It goes on where nobody reads that.
pub(super) fn announce(text: impl Display) {
    print(text).ok();
}

/// Prints a value as JSON for scripts.
///
/// # Errors
/// When standard output is closed, or the value is no JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(serde_json::to_string_pretty(value)?)?)
}

/// Whether a command ended because nobody reads on, as in `rejoinder routes | head -1`: no failure of ours.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == ErrorKind::BrokenPipe)
}
