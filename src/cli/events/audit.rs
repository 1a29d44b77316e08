//! `rejoinder events audit`: what was done to events.

use std::process::ExitCode;

use clap::Args;

use super::super::database::{CONNECTIONS, Reached};
use super::super::{out, table};
use crate::config::DatabaseSettings;
use crate::log::audit;

/// Print what was done to events by hand, and which were given up, the newest first
#[derive(Args)]
#[group(skip)]
pub(super) struct Audit {
    /// At most so many entries
    #[arg(long, default_value = "50", value_parser = crate::config::whole_number::<u32>(1..=100_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let entries = audit::list(database.pool(), None, self.limit.into()).await?;
        if self.json {
            out::print_json(&entries)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<[String; 5]> = entries
            .into_iter()
            .map(|entry| {
                [
                    entry.at.format("%F %T").to_string(),
                    entry.actor,
                    entry.action,
                    entry.position.map_or_else(String::new, |position| position.to_string()),
                    entry.detail,
                ]
            })
            .collect();
        table::print(["AT", "WHO", "WHAT", "POSITION", "DETAIL"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}
