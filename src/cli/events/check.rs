//! `rejoinder events check`: are all files of the events directory right?

use std::process::ExitCode;

use clap::Args;

use super::super::out;
use crate::auth::Exposure;
use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, EventSettings};
use crate::events::source::Sources;
use crate::reactions;
use crate::upstream;

/// Check all sources, schemas, reactions and channels
///
/// Prints each error with file, line and column. The exit code is 0 when there is none, else 1.
#[derive(Args)]
#[group(skip)]
pub(super) struct Check<B: Args> {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Check<B> {
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let dir = &self.events.events_dir;
        let mut errors = reactions::check(dir, &bot.action_names());
        let sources = Sources::load(
            &dir.join("sources"),
            &self.database.data_dir,
            Exposure::Loopback,
            Clock::system(),
            upstream::client()?,
        );
        errors.extend(sources.err().into_iter().flatten());
        if self.json {
            out::print_json(&errors)?;
        } else if errors.is_empty() {
            out::print(format_args!("{}: all files are right", dir.display()))?;
        } else {
            out::print(super::lines(&errors))?;
        }
        Ok(if errors.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
