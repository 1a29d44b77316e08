//! `rejoinder events dead`, `redrive`, `discard`: the dead letters.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::quiet::Quiet;
use super::super::{out, table};
use crate::config::DatabaseSettings;
use crate::event::position::Position;
use crate::log::dead::{self, DeadLetter};
use crate::log::parked::{self, HeldRule};

/// How many letters one command looks at.
const MOST: i64 = 10_000;

/// How many are given back at once.
const AT_ONCE: usize = 500;

/// List the dead letters: events that could not be applied
///
/// Says, too, which rules are held, because they fail for most of their events: these wait, and are no dead letters.
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
///
/// A fact that a later event has set meanwhile stays as it is, unless its new value is made of what is remembered, as a
/// counter's is. `events explain` says of each event which facts were not written.
#[derive(Args)]
#[group(skip)]
pub(super) struct Redrive {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// End dead letters without applying them
#[derive(Args)]
#[group(skip)]
pub(super) struct Discard {
    #[command(flatten)]
    which: Which,
    /// Why, for the audit trail
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Which of the dead letters.
#[derive(Args)]
struct Which {
    /// Of which events; several may be given
    #[arg(required_unless_present = "all")]
    event_ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "event_ids")]
    all: bool,
}

impl Dead {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let letters = dead::list(database.pool(), self.event_id.as_deref(), MOST).await?;
        for held in parked::held_rules(database.pool(), None).await? {
            let HeldRule { rule, events, error } = held;
            let error = error.unwrap_or_default();
            eprintln!("rule {rule} is held: {events} events wait until it is mended ({error})");
        }
        if self.json {
            out::print_json(&letters)?;
            return Ok(ExitCode::SUCCESS);
        }
        if letters.is_empty() {
            out::print("no dead letters")?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<[String; 6]> = letters.iter().map(row).collect();
        table::print(["EVENT", "TYPE", "ENTITY", "SOURCE", "DIED", "ERROR"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Redrive {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let positions = self.which.positions(&database).await?;
        let mut transaction = database.pool().begin().await?;
        let now = database.now();
        let mut redriven = Vec::new();
        let mut progress = self.quiet.progress(positions.len(), "dead letters");
        for some in positions.chunks(AT_ONCE) {
            redriven.extend(dead::redrive(&mut transaction, some, &self.actor.name, now).await?);
            progress.add(some.len());
        }
        drop(progress);
        transaction.commit().await?;
        self.quiet
            .print(format_args!("{} given back to the workers", redriven.len()))?;
        let late = dead::behind(database.pool(), &redriven).await?;
        if late > 0 {
            self.quiet.print(format_args!(
                "{late} of them find facts that later events have set: these stay, but for those that are made of what is \
                 remembered, such as counters; `rejoinder events explain` says which"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Discard {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let positions = self.which.positions(&database).await?;
        let mut transaction = database.pool().begin().await?;
        let now = database.now();
        let discarded = dead::discard(&mut transaction, &positions, &self.actor.name, &self.reason, now).await?;
        transaction.commit().await?;
        self.quiet.print(format_args!("{} discarded", discarded.len()))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Which {
    /// Where they stand; an event that has none is an error, before anything is done.
    async fn positions(&self, database: &Reached) -> anyhow::Result<Vec<Position>> {
        let positions = async |event_id| {
            let letters = dead::list(database.pool(), event_id, MOST).await?;
            Ok::<_, anyhow::Error>(letters.iter().map(|letter| letter.position).collect::<Vec<Position>>())
        };
        if self.all {
            return positions(None).await;
        }
        let mut all = Vec::new();
        for event_id in &self.event_ids {
            let found = positions(Some(event_id)).await?;
            if found.is_empty() {
                bail!("event {event_id:?} is no dead letter");
            }
            all.extend(found);
        }
        Ok(all)
    }
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
