//! How far a run is: one line that is written over on a terminal; a line each where it goes elsewhere.

use std::io::IsTerminal as _;

/// The line.
pub(crate) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn tell(&self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K{what}");
        } else {
            eprintln!("{what}");
        }
    }

    pub(crate) fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }
}
