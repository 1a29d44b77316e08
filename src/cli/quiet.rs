//! Whether a command says what it does.

use std::fmt::Display;
use std::io;

use clap::Args;

use super::out;
use crate::progress::Progress;

/// Whether a command says what it does.
#[derive(Args, Clone, Copy)]
#[group(skip)]
pub(super) struct Quiet {
    /// Print errors and what was asked for, and nothing else
    #[arg(short, long)]
    quiet: bool,
}

impl Quiet {
    /// Prints what was done, and a line break.
    ///
    /// # Errors
    /// As [`out::print`].
    pub(super) fn print(self, text: impl Display) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        out::print(text)
    }

    /// How far a command is with `all` of `what`, a plural: said on a terminal.
    pub(super) fn progress(self, all: usize, what: &'static str) -> Progress {
        if self.quiet {
            Progress::unsaid(all, what)
        } else {
            Progress::watched(all, what)
        }
    }

    /// Whether it says nothing of what it does.
    pub(super) fn is_set(self) -> bool {
        self.quiet
    }
}
