//! `rejoinder events list`: which events there are, and how far each has come.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum as _};

use super::super::database::{CONNECTIONS, Reached};
use super::super::{out, table};
use super::replay::time;
use crate::apply::list::{Filter, Listed, Stage, list};
use crate::config::DatabaseSettings;

/// List events, the newest first: how far each has come, why it is not applied, and what it led to that was not sent
///
/// A table on a terminal; else one line an event, its fields apart by tabs: event, type, entity, source, when it came,
/// state, details. Of parked events those that have failed come first, before those that wait behind them.
#[derive(Args)]
#[group(skip)]
pub(super) struct List {
    /// Only those about this entity
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only those that have come so far
    #[arg(long)]
    state: Option<Stage>,
    /// Only those that came from then on: a date or a time, in UTC
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// At most so many
    #[arg(long, default_value = "50", value_parser = crate::config::whole_number::<u32>(1..=10_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let filter = Filter {
            entity_id: self.entity,
            event_type: self.event_type,
            state: self.state,
            since: self.since,
            limit: self.limit.into(),
        };
        let events = list(database.pool(), &filter).await?;
        if self.json {
            out::print_json(&events)?;
        } else if std::io::stdout().is_terminal() {
            if events.is_empty() {
                out::print("no such event")?;
                return Ok(ExitCode::SUCCESS);
            }
            let rows: Vec<[String; 7]> = events.iter().map(|event| row(event, "\n    ")).collect();
            let header = ["EVENT", "TYPE", "ENTITY", "SOURCE", "CAME", "STATE", "DETAILS"];
            table::print(header, &rows)?;
        } else {
            for event in &events {
                out::print(row(event, "; ").join("\t"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(event: &Listed, between: &str) -> [String; 7] {
    let state = event.state.to_possible_value();
    let details: Vec<String> = why(event).into_iter().chain(event.unsent.clone()).collect();
    [
        line(&event.event_id),
        line(&event.event_type),
        line(event.entity_id.as_deref().unwrap_or("-")),
        line(&event.source),
        event.received_at.format("%F %T").to_string(),
        state.map_or_else(String::new, |state| state.get_name().to_owned()),
        details
            .iter()
            .map(|detail| line(detail))
            .collect::<Vec<_>>()
            .join(between),
    ]
}

/// Why it is not applied.
fn why(event: &Listed) -> Option<String> {
    let tried = match event.attempts {
        Some(0) | None => String::new(),
        Some(attempts) => format!("tried {attempts} times"),
    };
    let next = match event.retry_at {
        Some(at) => format!(", next at {}", at.format("%F %T")),
        None => String::new(),
    };
    match (&event.error, event.state) {
        (Some(error), Stage::Quarantined) => Some(error.clone()),
        (Some(error), _) => Some(format!("{tried}{next}: {error}")),
        (None, Stage::Parked) => Some("waits behind another event of its entity".to_owned()),
        (None, _) => None,
    }
}

/// One line, with nothing in it that a terminal would obey.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
