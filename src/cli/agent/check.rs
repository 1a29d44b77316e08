//! `rejoinder agent check`: do agents and the bot fit each other?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::out;
use super::super::quiet::Quiet;
use crate::agent::{self, Agent};
use crate::bot::Bot;

/// Check that agents and the bot fit each other
///
/// Every place in an agent that calls the webhook needs a handler (by the intent's name, its action, the fulfillment's tag or
/// the event), and every handler a place in one of the agents. A parameter for which a handler asks, and that the agent has
/// under nearly the same name, is told of, too. The exit code is 0 when all fits, else 1; 2 when a file cannot be read.
#[derive(Args)]
#[group(skip)]
pub(super) struct CheckAgents<B: Args> {
    /// Directories, into each of which an agent's export is unpacked (Dialogflow ES, or CX as a JSON package)
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> CheckAgents<B> {
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        bot.check()?;
        let read = self.dirs.iter().map(|dir| Agent::read(dir));
        let agents = read.collect::<Result<Vec<_>, _>>()?;
        let found = agent::misfits(&agents, bot.intents());
        if self.json {
            out::print_json(&found)?;
        } else {
            for misfit in &found {
                out::print(misfit)?;
            }
            let (calls, handlers) = (agents.iter().map(Agent::calls).sum::<usize>(), bot.intents().len());
            let sum = match found.len() {
                0 => " fit each other".to_owned(),
                misfits => format!(": {misfits} do not fit"),
            };
            self.quiet.print(format_args!(
                "{calls} calls of the webhook and {handlers} handlers{sum}"
            ))?;
        }
        Ok(match found.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
