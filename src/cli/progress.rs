//! How far a command is, on standard error: one line that is written over on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often it is said where standard error is no terminal.
const SOMETIMES: Duration = Duration::from_secs(5);

/// How far a command is.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    done: usize,
    is_terminal: bool,
    told_at: Instant,
}

impl Progress {
    /// At the beginning of `all` of `what`, a plural.
    pub(super) fn of(all: usize, what: &'static str) -> Self {
        Self {
            what,
            all,
            done: 0,
            is_terminal: io::stderr().is_terminal(),
            told_at: Instant::now(),
        }
    }

    /// As many more are done.
    pub(super) fn add(&mut self, more: usize) {
        self.done += more;
        if !self.is_terminal && self.told_at.elapsed() < SOMETIMES {
            return;
        }
        self.told_at = Instant::now();
        let (begin, end) = if self.is_terminal { ("\r", "") } else { ("", "\n") };
        // A line that cannot be written is only missed.
        write!(io::stderr(), "{begin}{} of {} {}{end}", self.done, self.all, self.what).ok();
    }

    /// How many are done.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Ends the line on a terminal, for what is printed next.
    pub(super) fn end(&self) {
        if self.is_terminal && self.done > 0 {
            eprintln!();
        }
    }
}
