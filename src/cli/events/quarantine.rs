//! `rejoinder events quarantine` and `release`: what was verified and not taken.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::quiet::Quiet;
use super::super::{out, table};
use crate::apply::list;
use crate::bot::Bot;
use crate::config::{DatabaseSettings, EventSettings};
use crate::intake::quarantine::{self, Quarantined, QuarantinedRequest};
use crate::intake::release::{Released, release};
use crate::intake::reread::{self, ReadAgain};
use crate::rulebook::{Edition, Rulebook};
use crate::source::Surroundings;

/// How many events one command looks at.
const MOST: i64 = 10_000;

/// List the events that their schema refused or that have none, and the requests that their source's file could not read
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

/// Store events of the quarantine that their schema takes by now, and read requests again that could not be read
#[derive(Args)]
#[group(skip)]
pub(super) struct Release<B: Args> {
    /// Only events of this type, and no requests
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    #[command(flatten)]
    quiet: Quiet,
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
        let requests = match self.event_type {
            Some(_) => Vec::new(),
            None => quarantine::requests(database.pool(), MOST).await?,
        };
        if self.json {
            let kept = kept.iter().map(serde_json::to_value);
            let all = kept.chain(requests.iter().map(serde_json::to_value));
            out::print_json(&all.collect::<Result<Vec<Value>, _>>()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if kept.is_empty() && requests.is_empty() {
            out::print("no event is in quarantine")?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<[String; 5]> = kept.iter().map(row).chain(requests.iter().map(request_row)).collect();
        table::print(["EVENT", "TYPE", "SOURCE", "CAME", "VIOLATIONS"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl<B: Args> Release<B> {
    pub(super) async fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let surroundings = Surroundings::new(database.database.clock().clone())?;
        let rulebook = Rulebook::load(&self.events.events_dir, &bot.action_names(), &surroundings);
        let rulebook = rulebook.map_err(|errors| anyhow!("{}", super::lines(&errors)))?;
        let edition = rulebook.edition();
        let (mut released, mut known, mut refused) = (0, 0, 0);
        let all = quarantine::list(database.pool(), self.event_type.as_deref(), None, MOST).await?;
        let mut progress = self.quiet.progress(all.len(), "events");
        for kept in all {
            match release(database.pool(), &edition, &kept, &self.actor.name, database.now()).await? {
                Released::Stored => released += 1,
                Released::Known => known += 1,
                Released::Gone => {}
                Released::Refused => refused += 1,
            }
            progress.add(1);
        }
        drop(progress);
        let known = match known {
            0 => String::new(),
            known => format!(", {known} in the log already"),
        };
        self.quiet.print(format_args!(
            "{released} stored{known}, {refused} still refused by their schema"
        ))?;
        if self.event_type.is_none() {
            self.read_again(&database, &edition).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Reads requests again, oldest first, so that their events come in order.
    async fn read_again(&self, database: &Reached, edition: &Edition) -> anyhow::Result<()> {
        let requests = quarantine::requests(database.pool(), MOST).await?;
        if requests.is_empty() {
            return Ok(());
        }
        let (mut read, mut stored, mut to_schema, mut unread) = (0, 0, 0, 0);
        let mut progress = self.quiet.progress(requests.len(), "requests");
        for kept in requests.iter().rev() {
            match reread::read_again(database.pool(), edition, kept, &self.actor.name, database.now()).await? {
                ReadAgain::Events { new, refused, .. } => {
                    read += 1;
                    stored += new;
                    to_schema += refused;
                }
                ReadAgain::Gone => {}
                ReadAgain::Refused => unread += 1,
            }
            progress.add(1);
        }
        drop(progress);
        self.quiet.print(format_args!(
            "{read} requests read, {stored} events of them stored, {to_schema} refused by their schema; \
             {unread} requests still not read by their source's file"
        ))?;
        Ok(())
    }
}

fn request_row(kept: &QuarantinedRequest) -> [String; 5] {
    [
        format!("request {}", kept.id),
        "-".to_owned(),
        kept.source.clone(),
        kept.received_at.format("%F %T").to_string(),
        violations(&kept.violations),
    ]
}

fn row(kept: &Quarantined) -> [String; 5] {
    [
        kept.event_id.clone(),
        kept.event_type.clone(),
        kept.source.clone(),
        kept.received_at.format("%F %T").to_string(),
        violations(&kept.violations),
    ]
}

fn violations(json: &RawValue) -> String {
    list::violations(&serde_json::from_str(json.get()).unwrap_or_default())
}
