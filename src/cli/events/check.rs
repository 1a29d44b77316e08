//! `rejoinder events check`: are all files of the events directory right?

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Args;

use super::super::database::{CONNECTIONS, Reached};
use super::super::out;
use super::super::quiet::Quiet;
use crate::apply::against_log;
use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, EventSettings};
use crate::event::catalogue::Catalogue;
use crate::rulebook;
use crate::source::{Sources, Surroundings};

/// Check all sources, schemas, reactions and channels
///
/// Prints each error with file, line and column, and warns of what is hardly meant so. Upcasters are tried on examples that
/// are made from the older schema. The exit code is 0 when there is no error, else 1.
#[derive(Args)]
#[group(skip)]
pub(super) struct CheckFiles<B: Args> {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Bring up the events of the last seven days in the log, too: of each type and version the newest 100
    #[arg(long)]
    against_log: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> CheckFiles<B> {
    pub(super) async fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let dir = &self.events.events_dir;
        let surroundings = Surroundings::new(Clock::system())?;
        let mut found = rulebook::check(dir, &bot.action_names(), &surroundings);
        if self.against_log {
            let (sources, _) = Sources::load(&dir.join("sources"), &surroundings, None);
            let (catalogue, _) = Catalogue::read(&dir.join("schemas"), sources.prefixes());
            let database = Reached::find(&self.database, CONNECTIONS).await?;
            let since = Clock::system().now() - TimeDelta::days(7);
            found.extend(against_log::check(database.pool(), &catalogue, &dir.join("schemas"), since).await?);
        }
        let errors = found.iter().filter(|found| found.is_error()).count();
        if self.json {
            out::print_json(&found)?;
        } else {
            if !found.is_empty() {
                out::print(super::lines(&found))?;
            }
            let sum = match (errors, found.len() - errors) {
                (0, 0) => "all files are right".to_owned(),
                (0, warnings) => format!("no errors, {warnings} warnings"),
                (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
            };
            self.quiet.print(format_args!("{}: {sum}", dir.display()))?;
        }
        Ok(if errors == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
