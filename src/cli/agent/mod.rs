//! `rejoinder agent`: an agent's sources beside the bot, and as the file that Dialogflow imports.

mod check;
mod pack;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failed;
use crate::bot::Bot;

/// Check that an agent fits the bot, and pack its sources for Dialogflow.
#[derive(Args)]
#[group(skip)]
pub(super) struct Agent<B: Args> {
    #[command(subcommand)]
    command: Command<B>,
}

#[derive(Subcommand)]
enum Command<B: Args> {
    Check(check::Check<B>),
    Pack(pack::Pack),
}

impl<B: Args> Agent<B> {
    /// Exit codes: 0 done, 1 something does not fit, 2 it could not be tried.
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> ExitCode {
        let done = match self.command {
            Command::Check(check) => check.run(bot),
            Command::Pack(pack) => pack.run(),
        };
        done.unwrap_or_else(|error| failed(&error, ExitCode::from(2)))
    }
}
