//! `rejoinder events quarantine` and `release`: events that no schema took.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::{out, table};
use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, EventSettings};
use crate::events::quarantine::{self, Quarantined};
use crate::events::release::{Released, release};
use crate::reactions::Rulebook;

/// How many events one command looks at.
const MOST: i64 = 10_000;

/// List the events that their schema refused, or that have none
#[derive(Args)]
#[group(skip)]
pub(super) struct Quarantine {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Store events of the quarantine that their schema takes by now
#[derive(Args)]
#[group(skip)]
pub(super) struct Release<B: Args> {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    bot: B,
}

impl Quarantine {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let kept = quarantine::list(database.pool(), self.event_type.as_deref(), None, MOST).await?;
        if self.json {
            out::print_json(&kept)?;
            return Ok(ExitCode::SUCCESS);
        }
        if kept.is_empty() {
            out::print("no event is in quarantine")?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<[String; 5]> = kept.iter().map(row).collect();
        table::print(["EVENT", "TYPE", "SOURCE", "CAME", "VIOLATIONS"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl<B: Args> Release<B> {
    pub(super) async fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let rulebook = Rulebook::load(&self.events.events_dir, &bot.action_names());
        let rulebook = rulebook.map_err(|errors| anyhow!("{}", super::lines(&errors)))?;
        let catalogue = &rulebook.edition().catalogue;
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let (mut released, mut known, mut refused) = (0, 0, 0);
        for kept in quarantine::list(database.pool(), self.event_type.as_deref(), None, MOST).await? {
            match release(
                database.pool(),
                catalogue,
                &kept,
                &self.actor.name,
                Clock::system().now(),
            )
            .await?
            {
                Released::Stored => released += 1,
                Released::Known => known += 1,
                Released::Gone => {}
                Released::Refused => refused += 1,
            }
        }
        let known = match known {
            0 => String::new(),
            known => format!(", {known} in the log already"),
        };
        out::print(format_args!(
            "{released} stored{known}, {refused} still refused by their schema"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(kept: &Quarantined) -> [String; 5] {
    let violations: Value = serde_json::from_str(kept.violations.get()).unwrap_or_default();
    let violations: Vec<String> = violations
        .as_array()
        .into_iter()
        .flatten()
        .map(|violation| {
            let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("pointer"), text("message"))
        })
        .collect();
    [
        kept.event_id.clone(),
        kept.event_type.clone(),
        kept.source.clone(),
        kept.received_at.format("%F %T").to_string(),
        violations.join("; "),
    ]
}
