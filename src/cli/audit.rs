//! `rejoinder audit`: what was done, by whom, and who was refused.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;

use super::database::{CONNECTIONS, Reached};
use super::events::time;
use super::{failed, out, table};
use crate::config::DatabaseSettings;
use crate::log::audit::{self, Filter};

/// Print what was done by hand, which events were given up, and who was refused, the newest first
///
/// Refusals are counted: one entry a minute for each door or source and each reason. They are kept for 30 days, all else
/// for a year. Exit codes: 0 printed, 2 it could not be tried.
#[derive(Args)]
#[group(skip)]
pub(super) struct Audit {
    /// Only what they have done; the service itself is `rejoinder`
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only this: `dead`, `redrive`, `discard`, `replay`, `release`, `forget`, `refused`
    #[arg(long, value_name = "ACTION")]
    what: Option<String>,
    /// Only what was done from then on: a date or a time, in UTC
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    since: Option<DateTime<Utc>>,
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
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let printed = runtime.block_on(self.print());
        Ok(printed.unwrap_or_else(|error| failed(&error, ExitCode::from(2))))
    }

    async fn print(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let filter = Filter {
            actor: self.who,
            action: self.what,
            since: self.since,
            position: None,
        };
        let entries = audit::list(database.pool(), &filter, self.limit.into()).await?;
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
