//! How far something is that takes long: one line that is written over on a terminal, a line now and then elsewhere.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tracing::info;

/// How often it is said where standard error is no terminal.
const SOMETIMES: Duration = Duration::from_secs(5);

/// How far something is.
pub(crate) struct Progress {
    what: &'static str,
    all: usize,
    done: usize,
    is_terminal: bool,
    told_at: Instant,
}

impl Progress {
    /// At the beginning of `all` of `what`, a plural.
    pub(crate) fn of(all: usize, what: &'static str) -> Self {
        Self {
            what,
            all,
            done: 0,
            is_terminal: io::stderr().is_terminal(),
            told_at: Instant::now(),
        }
    }

    /// As many more are done.
    pub(crate) fn add(&mut self, more: usize) {
        self.done += more;
        let far = format!("{} of {} {}", self.done, self.all, self.what);
        if self.is_terminal {
            // A line that cannot be written is only missed.
            write!(io::stderr(), "\r{far}").ok();
        } else if self.told_at.elapsed() >= SOMETIMES {
            self.told_at = Instant::now();
            tell(far);
        }
    }

    /// How many are done.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Ends the line on a terminal, for what is printed next.
    pub(crate) fn end(&self) {
        if self.is_terminal && self.done > 0 {
            writeln!(io::stderr()).ok();
        }
    }
}

/// Says a line: in the log where one is kept, else on standard error, past what a test's harness keeps back.
pub(crate) fn tell(line: impl Display) {
    if tracing::dispatcher::has_been_set() {
        info!("{line}");
    } else {
        writeln!(io::stderr(), "{line}").ok();
    }
}
