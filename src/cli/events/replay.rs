//! `rejoinder events replay`: old events through the rules of today.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::super::actor::Actor;
use super::super::database::{CONNECTIONS, Reached};
use super::super::quiet::Quiet;
use super::super::{out, program};
use crate::apply::replay::{self, Difference, Place, Range, Reapplied};
use crate::bot::Bot;
use crate::config::{DatabaseSettings, EventSettings, NotificationSettings};
use crate::events;
use crate::log::audit::{self, Entry};
use crate::progress::Progress;
use crate::reactions::effects;

/// Apply old events again, through the rules as they are now
///
/// What an event has done already is not done twice: newer facts stay, no message goes out again, and joins that have
/// acted are not compared. Prints the events of which something else comes than before, as it goes on. The exit code is 0
/// also when there are some. Ctrl-C ends it in order: it prints where it stands, and --resume goes on there.
#[derive(Args)]
#[group(skip)]
pub(super) struct ReplayEvents<B: Args> {
    /// Events that were stored from then on: a date or a time, in UTC
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    from: DateTime<Utc>,
    /// And before then
    #[arg(long, value_name = "DATE|RFC 3339", value_parser = time)]
    to: DateTime<Utc>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Go on where a replay of the same range was interrupted
    #[arg(long, value_name = "PLACE")]
    resume: Option<Place>,
    /// Change nothing, only print what would differ; actions written in Rust are not run
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
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

impl<B: Args> ReplayEvents<B> {
    /// Exit codes: 0 done, 130 interrupted.
    pub(super) async fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        let database = Reached::find(&self.database, CONNECTIONS).await?;
        let range = Range {
            from: self.from,
            to: self.to,
            event_type: self.event_type,
        };
        let applier = events::applier(&database.database, bot, &self.events, self.notifications)?;
        let mut replay = replay::Replay::new(&applier, &range, self.dry_run, self.resume.unwrap_or_default());
        let audit = async |detail: &str| {
            let entry = Entry {
                actor: &self.actor.name,
                action: "replay",
                position: None,
                detail: &format!("{detail} from {} to {}", range.from, range.to),
            };
            if self.dry_run {
                return Ok(());
            }
            let mut connection = database.pool().acquire().await?;
            audit::write(&mut connection, &entry, database.now()).await
        };
        audit(&format!("begins at {} of the events", replay.place())).await?;
        let interrupted = interrupted()?;
        let mut report = Report::new(self.json, self.quiet, usize::try_from(replay.count().await?)?)?;
        let ended = loop {
            if interrupted.load(Ordering::Relaxed) {
                break Ok(true);
            }
            match replay.step().await {
                Ok(Some(step)) => {
                    if let Err(error) = report.add(&step) {
                        break Err(error.into());
                    }
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(anyhow::Error::from(error)),
            }
        };
        let (events, place) = (report.progress.done(), replay.place());
        let is_interrupted = match ended {
            Ok(is_interrupted) => is_interrupted,
            Err(error) => {
                audit(&format!("failed at {place}, {events} events done: {error:#};")).await?;
                return Err(error.context(format!("stopped at {place}; go on with --resume {place}")));
            }
        };
        if is_interrupted {
            audit(&format!("interrupted at {place}, {events} events done,")).await?;
        } else {
            audit(&format!("{events} events")).await?;
        }
        let would = if self.dry_run {
            "would be applied again"
        } else {
            "applied again"
        };
        report.end(would, is_interrupted.then_some(place))?;
        if is_interrupted {
            program::complain(format_args!(
                "interrupted at {place}; the same command with --resume {place} goes on there"
            ));
            return Ok(ExitCode::from(130));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Becomes true when the command is told to end, by Ctrl-C or SIGTERM: what is under way is done first.
fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.store(true, Ordering::Relaxed);
    });
    Ok(interrupted)
}

/// What is printed while the replay goes on: nothing of it is kept.
struct Report {
    is_json: bool,
    quiet: Quiet,
    progress: Progress,
    differences: usize,
}

impl Report {
    fn new(is_json: bool, quiet: Quiet, all: usize) -> io::Result<Self> {
        if is_json {
            out::print("{\"differences\": [")?;
        }
        // It may go on for hours: where it is piped, too, somebody will want to know.
        let progress = match quiet.is_set() {
            true => Progress::unsaid(all, "events"),
            false => Progress::of(all, "events"),
        };
        Ok(Self {
            is_json,
            quiet,
            progress,
            differences: 0,
        })
    }

    fn add(&mut self, step: &Reapplied) -> io::Result<()> {
        for difference in &step.differences {
            if self.is_json {
                let comma = if self.differences == 0 { "" } else { "," };
                out::print(format_args!("{comma}{}", serde_json::to_string(difference)?))?;
            } else {
                out::print(text(difference))?;
            }
            self.differences += 1;
        }
        self.progress.add(step.events);
        Ok(())
    }

    fn end(self, would: &str, resume: Option<Place>) -> io::Result<()> {
        let events = self.progress.done();
        drop(self.progress);
        if self.is_json {
            let resume = serde_json::to_string(&resume.map(|place| place.to_string()))?;
            return out::print(format_args!("], \"events\": {events}, \"resume\": {resume}}}"));
        }
        self.quiet
            .print(format_args!("{events} events {would}, {} differ", self.differences))
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
        lines(before),
        lines(now)
    )
}

/// What rules made of an event: a line for each, and for each effect.
fn lines(gist: &Value) -> String {
    if let Some(error) = gist["error"].as_str() {
        return error.to_owned();
    }
    let rules = gist.as_array().into_iter().flatten();
    let rules: Vec<String> = rules
        .map(|rule| {
            let name = rule["rule"].as_str().unwrap_or_default();
            let effects = rule["effects"].as_array().into_iter().flatten();
            let effects: String = effects
                .map(|effect| format!("\n            {}", effects::line(effect)))
                .collect();
            match rule["why_not"].as_str() {
                Some(why_not) => format!("{name}: nothing, {why_not}"),
                None => format!("{name}{effects}"),
            }
        })
        .collect();
    if rules.is_empty() {
        "nothing".to_owned()
    } else {
        rules.join("\n          ")
    }
}

/// A date, or a time.
pub(in crate::cli) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let day = text.parse::<NaiveDate>().ok().and_then(midnight);
    day.or_else(|| text.parse().ok())
        .ok_or_else(|| "expected a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z".to_owned())
}
