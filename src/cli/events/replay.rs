//! `rejoinder events replay`: old events through the rules of today.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;
use serde_json::Value;

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::out;
use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, EventSettings, NotificationSettings};
use crate::events;
use crate::events::audit::{self, Entry};
use crate::events::replay::{Difference, Range, count, replay};

/// Apply old events again, through the rules as they are now
///
/// What an event has done already is not done twice: newer facts stay, and no message goes out again. Prints the events
/// of which something else comes than before. The exit code is 0 also when there are some.
#[derive(Args)]
#[group(skip)]
pub(super) struct Replay<B: Args> {
    /// Events that were stored from then on: a date or a time, in UTC
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    from: DateTime<Utc>,
    /// And before then
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    to: DateTime<Utc>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Change nothing, only print what would differ; actions written in Rust are not run
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    notifications: NotificationSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Replay<B> {
    pub(super) async fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let range = Range {
            from: self.from,
            to: self.to,
            event_type: self.event_type,
        };
        let all = count(database.pool(), &range).await?;
        let applier = events::applier(&database.database, bot, &self.events, self.notifications)?;
        let shows = std::io::stderr().is_terminal();
        let progress = |done: usize| {
            if shows {
                // A line that cannot be written is only missed.
                write!(std::io::stderr(), "\r{done} of {all} events").ok();
            }
        };
        let replayed = replay(&applier, &range, self.dry_run, progress).await?;
        if shows {
            eprintln!();
        }
        if !self.dry_run {
            let detail = format!("{} events from {} to {}", replayed.events, range.from, range.to);
            let entry = Entry {
                actor: &self.actor.name,
                action: "replay",
                position: None,
                detail: &detail,
            };
            let mut connection = database.pool().acquire().await?;
            audit::write(&mut connection, &entry, Clock::system().now()).await?;
        }
        if self.json {
            out::print_json(&replayed)?;
            return Ok(ExitCode::SUCCESS);
        }
        for difference in &replayed.differences {
            out::print(text(difference))?;
        }
        let would = if self.dry_run {
            "would be applied again"
        } else {
            "applied again"
        };
        out::print(format_args!(
            "{} events {would}, {} differ",
            replayed.events,
            replayed.differences.len()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(difference: &Difference) -> String {
    let Difference {
        event_id,
        event_type,
        entity_id,
        before,
        now,
    } = difference;
    format!(
        "{event_id} ({event_type} {entity_id})\n  before  {}\n  now     {}",
        short(before),
        short(now)
    )
}

fn short(gist: &Value) -> String {
    if let Some(error) = gist["error"].as_str() {
        return error.to_owned();
    }
    let rules = gist.as_array().into_iter().flatten();
    let rules: Vec<String> = rules
        .map(|rule| {
            let name = rule["rule"].as_str().unwrap_or_default();
            match rule["why_not"].as_str() {
                Some(why_not) => format!("{name}: nothing, {why_not}"),
                None => format!("{name}: {}", rule["effects"]),
            }
        })
        .collect();
    if rules.is_empty() {
        "no rule listens".to_owned()
    } else {
        rules.join("\n          ")
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let day = text.parse::<NaiveDate>().ok().and_then(midnight);
    day.or_else(|| text.parse().ok())
        .ok_or_else(|| "expected a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z".to_owned())
}
