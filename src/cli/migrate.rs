//! `rejoinder migrate`: brings the tables up to date, apart from the service.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sqlx::{Connection as _, PgConnection};

use super::out;
use crate::config::DatabaseSettings;
use crate::postgres::embedded::Embedded;
use crate::postgres::tables::{Standing, bring_up_to_date};

/// Bring the database's tables up to date
///
/// The service does so, too, when it starts. Done apart, by a role that may create tables, the service needs no such
/// right but for the weeks of the event log. Prints what was applied. The exit code is 0 when all is applied.
#[derive(Args)]
#[group(skip)]
pub(super) struct Migrate {
    /// Change nothing; print what is missing, and exit with 1 when anything is
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Migrate {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let settings = &self.database;
            let mut private = None;
            let options = match (settings.primary()?, Embedded::running(&settings.data_dir)) {
                (Some(options), _) | (None, Some(options)) => options,
                (None, None) => private
                    .insert(Embedded::start(&settings.data_dir, settings.pg_bindir.as_deref())?)
                    .options(),
            };
            let options = options.options([("client_min_messages", "warning")]);
            let mut connection = PgConnection::connect_with(&options)
                .await
                .context("DATABASE_URL: expected a PostgreSQL that answers")?;
            let standing = if self.check {
                Standing::read(&mut connection).await
            } else {
                bring_up_to_date(&mut connection).await
            }
            .context("the database's tables")?;
            connection.close().await?;
            let verb = if self.check { "missing" } else { "applied" };
            for (number, name) in &standing.pending {
                out::print(format_args!("{verb}  {number:04} {name}"))?;
            }
            if !standing.unknown.is_empty() {
                out::print(format_args!(
                    "newer    {:?}, which this program does not know",
                    standing.unknown
                ))?;
            }
            if standing.pending.is_empty() {
                out::print("the tables are up to date")?;
            }
            Ok(if self.check && !standing.pending.is_empty() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        })
    }
}
