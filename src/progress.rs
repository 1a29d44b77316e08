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
    said: Said,
}

/// How that is said.
enum Said {
    /// In one line of a terminal.
    Over,
    /// In lines, the last of them then.
    NowAndThen(Instant),
    Never,
}

impl Progress {
    /// At the beginning of `all` of `what`, a plural.
    pub(crate) fn of(all: usize, what: &'static str) -> Self {
        let said = match io::stderr().is_terminal() {
            true => Said::Over,
            false => Said::NowAndThen(Instant::now()),
        };
        Self {
            what,
            all,
            done: 0,
            said,
        }
    }

    /// The same, said on a terminal only.
    pub(crate) fn watched(all: usize, what: &'static str) -> Self {
        match io::stderr().is_terminal() {
            true => Self::of(all, what),
            false => Self::unsaid(all, what),
        }
    }

    /// The same, said nowhere.
    pub(crate) fn unsaid(all: usize, what: &'static str) -> Self {
        Self {
            what,
            all,
            done: 0,
            said: Said::Never,
        }
    }

    /// As many more are done.
    pub(crate) fn add(&mut self, more: usize) {
        self.done += more;
        let far = || format!("{} of {} {}", self.done, self.all, self.what);
        match &mut self.said {
            // A line that cannot be written is only missed.
            Said::Over => {
                write!(io::stderr(), "\r{}", far()).ok();
            }
            Said::NowAndThen(at) if at.elapsed() >= SOMETIMES => {
                *at = Instant::now();
                tell(far());
            }
            Said::NowAndThen(_) | Said::Never => {}
        }
    }

    /// How many are done.
    pub(crate) fn done(&self) -> usize {
        self.done
    }
}

/// Ends the line on a terminal, for what is printed next.
impl Drop for Progress {
    fn drop(&mut self) {
        if matches!(self.said, Said::Over) && self.done > 0 {
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
