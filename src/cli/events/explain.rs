//! `rejoinder events explain`: what became of an event, and why.

use std::process::ExitCode;

use clap::Args;

use super::super::database::{CONNECTIONS, Reached};
use super::super::out;
use crate::apply::explain::{Explanation, explain};
use crate::config::DatabaseSettings;

/// Print what became of an event, and why: source, schema, rules, facts, messages
///
/// The exit code is 1 when there is no such event.
#[derive(Args)]
#[group(skip)]
pub(super) struct Explain {
    /// The sender's id of the event
    event_id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let explained = explain(database.pool(), &self.event_id).await?;
        if self.json {
            out::print_json(&explained)?;
        } else if explained.is_empty() {
            out::print(format_args!(
                "no event {:?} is in the log or in quarantine",
                self.event_id
            ))?;
        } else {
            let texts: Vec<String> = explained.iter().map(Explanation::text).collect();
            out::print(texts.join("\n\n"))?;
        }
        Ok(if explained.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
