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
    command: AgentCommand<B>,
}

#[derive(Subcommand)]
enum AgentCommand<B: Args> {
    Check(check::CheckAgents<B>),
    Pack(pack::Pack),
}

impl<B: Args> Agent<B> {
    /// Exit codes: 0 done, 1 something does not fit, 2 it could not be tried.
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> ExitCode {
        let done = match self.command {
            AgentCommand::Check(check) => check.run(bot),
            AgentCommand::Pack(pack) => pack.run(),
        };
        done.unwrap_or_else(|error| failed(&error, ExitCode::from(2)))
    }
}
