//! `rejoinder migrate`: brings the tables up to date, apart from the service.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sqlx::Connection as _;

use super::out;
use super::quiet::Quiet;
use crate::bot::Bot;
use crate::config::DatabaseSettings;
use crate::postgres::embedded::Embedded;
use crate::postgres::tables::{self, Standing};

/// Bring the database's tables up to date
///
/// The service does so, too, when it starts. Done apart, by a role that may create tables, the service needs no such
/// right but for the weeks of the event log. The framework's tables first, then the bot's own. Prints what was applied. The exit code is 0 when all is applied.
#[derive(Args)]
#[group(skip)]
pub(super) struct Migrate<B: Args> {
    /// Change nothing; print what is missing, and exit with 1 when anything is
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Migrate<B> {
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let settings = &self.database;
            let mut private = None;
            let options = match (settings.primary()?, Embedded::running(&settings.data_dir)) {
                (Some(options), _) | (None, Some(options)) => options,
                (None, None) => private
                    .insert(Embedded::start(&settings.data_dir, &settings.programs)?)
                    .options(),
            };
            let (mut connection, _) = tables::connect(options)
                .await
                .context("DATABASE_URL: expected a PostgreSQL that answers")?;
            let framework = if self.check {
                Standing::of_the_framework(&mut connection).await
            } else {
                tables::bring_up_to_date(&mut connection).await
            };
            let mut standings = vec![("", framework.context("the database's tables")?)];
            if let Some(migrations) = bot.own_migrations() {
                let standing = if self.check {
                    Standing::of_the_bot(&mut connection, migrations).await
                } else {
                    tables::bring_bots_up_to_date(&mut connection, migrations).await
                };
                standings.push((" of the bot", standing.context("the bot's tables")?));
            }
            connection.close().await?;
            for (whose, standing) in &standings {
                for (number, name) in &standing.pending {
                    let migration = format!("{number:04} {name}{whose}");
                    if self.check {
                        out::print(format_args!("missing  {migration}"))?;
                    } else {
                        self.quiet.print(format_args!("applied  {migration}"))?;
                    }
                }
                if !standing.unknown.is_empty() {
                    self.quiet.print(format_args!(
                        "newer    {:?}{whose}, which this program does not know",
                        standing.unknown
                    ))?;
                }
            }
            let is_up_to_date = standings.iter().all(|(_, standing)| standing.pending.is_empty());
            if is_up_to_date {
                self.quiet.print("the tables are up to date")?;
            }
            Ok(if self.check && !is_up_to_date {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        })
    }
}
