//! Whose command line it is.

use std::fmt::Display;
use std::sync::OnceLock;

use clap::Command;

/// The program that a bot is built to: what its package says of itself. [`main!`](crate::main) fills it in.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The package's name, by which the program speaks of itself.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is; may be empty.
    pub about: &'static str,
}

/// The framework, and what it is where the bot's package does not say what that is.
const FRAMEWORK: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
};

static NAME: OnceLock<&str> = OnceLock::new();

impl Program {
    /// Speaks in its name from now on.
    pub(super) fn begin(self) {
        NAME.get_or_init(|| self.name);
    }

    /// A command line in its name. The version is told with the framework's.
    pub(super) fn speak(self, command: Command) -> Command {
        let about = if self.about.is_empty() {
            FRAMEWORK.about
        } else {
            self.about
        };
        let command = command.name(self.name).about(about);
        match self.name == FRAMEWORK.name {
            true => command.version(self.version),
            false => command.version(format!("{} ({} {})", self.version, FRAMEWORK.name, FRAMEWORK.version)),
        }
    }
}

/// Says what went wrong, on standard error, in the program's name.
pub(super) fn complain(text: impl Display) {
    eprintln!("{}: {text}", name());
}

/// The name in which the program speaks.
pub(super) fn name() -> &'static str {
    NAME.get().copied().unwrap_or(FRAMEWORK.name)
}
