//! `rejoinder events dead`, `redrive`, `discard`: the dead letters.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::table;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::events::dead::{self, DeadLetter};

/// How many letters one command looks at.
const MOST: i64 = 10_000;

/// List the dead letters: events that could not be applied
#[derive(Args)]
#[group(skip)]
pub(super) struct Dead {
    /// Only those of this event
    event_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Apply dead letters anew, once the cause is mended
#[derive(Args)]
#[group(skip)]
pub(super) struct Redrive {
    /// Of which events; several may be given
    #[arg(required_unless_present = "all")]
    event_ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "event_ids")]
    all: bool,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// End dead letters without applying them
#[derive(Args)]
#[group(skip)]
pub(super) struct Discard {
    /// Of which events; several may be given
    #[arg(required = true)]
    event_ids: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Dead {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let letters = dead::list(database.pool(), self.event_id.as_deref(), MOST).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&letters)?);
            return Ok(ExitCode::SUCCESS);
        }
        if letters.is_empty() {
            println!("no dead letters");
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<[String; 6]> = letters.iter().map(row).collect();
        table::print(["EVENT", "TYPE", "ENTITY", "SOURCE", "DIED", "ERROR"], &rows);
        Ok(ExitCode::SUCCESS)
    }
}

impl Redrive {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let letters = find(&database, &self.event_ids).await?;
        let positions: Vec<i64> = letters.iter().map(|letter| letter.position).collect();
        let mut transaction = database.pool().begin().await?;
        let now = Clock::system().now();
        let redriven = dead::redrive(&mut transaction, &positions, &self.actor.name, now).await?;
        transaction.commit().await?;
        println!("{} given back to the workers", redriven.len());
        Ok(ExitCode::SUCCESS)
    }
}

impl Discard {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let letters = find(&database, &self.event_ids).await?;
        let positions: Vec<i64> = letters.iter().map(|letter| letter.position).collect();
        let mut transaction = database.pool().begin().await?;
        let now = Clock::system().now();
        let discarded = dead::discard(&mut transaction, &positions, &self.actor.name, &self.reason, now).await?;
        transaction.commit().await?;
        println!("{} discarded", discarded.len());
        Ok(ExitCode::SUCCESS)
    }
}

/// The letters of these events, or all; an event that has none is an error, before anything is done.
async fn find(database: &Reached, event_ids: &[String]) -> anyhow::Result<Vec<DeadLetter>> {
    if event_ids.is_empty() {
        return Ok(dead::list(database.pool(), None, MOST).await?);
    }
    let mut letters = Vec::new();
    for event_id in event_ids {
        let found = dead::list(database.pool(), Some(event_id), MOST).await?;
        if found.is_empty() {
            bail!("event {event_id:?} is no dead letter");
        }
        letters.extend(found);
    }
    Ok(letters)
}

fn row(letter: &DeadLetter) -> [String; 6] {
    let payload = letter.payload.as_ref().map_or("(erased)", |payload| payload.get());
    [
        letter.event_id.clone(),
        letter.event_type.clone(),
        letter.entity_id.clone(),
        letter.source.clone(),
        letter.died_at.format("%F %T").to_string(),
        format!("{} (tried {} times)\n    {payload}", letter.error, letter.attempts),
    ]
}

fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("expected a reason".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
