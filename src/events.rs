//! The half of a process that is about events: what takes them in, and what applies them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use chrono::TimeDelta;
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use crate::apply::survey::survey;
use crate::apply::worker::{self, Worker};
use crate::apply::{Applier, Faults, retention};
use crate::auth::Exposure;
use crate::bot::Bot;
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::config::{EventSettings, NotificationSettings};
use crate::conversation::{Conversation, Sender};
use crate::event::file::FileError;
use crate::event::metrics::EventMetrics;
use crate::event::partition::SharedPartitions;
use crate::handler::reaction::Actions;
use crate::intake::ingest::Ingest;
use crate::intake::overload::Backlog;
use crate::intake::reception::Reception;
use crate::log::Log;
use crate::log::dead::DeadLetters;
use crate::log::wake::Wake;
use crate::postgres::Database;
use crate::refusals::Refusals;
use crate::rulebook::Rulebook;
use crate::source::Surroundings;
use crate::source::generated::SourceSecrets;
use crate::telemetry::Metrics;

/// How often the files of the events directory are looked at.
const RELOAD: Duration = Duration::from_secs(2);

/// What the events door is made of.
pub(crate) struct Parts {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) settings: EventSettings,
    pub(crate) notifications: NotificationSettings,
    /// Who can try to guess the secrets of sources.
    pub(crate) exposure: Exposure,
    /// Where secrets that were made here lay before the database kept them.
    pub(crate) data_dir: PathBuf,
    pub(crate) actions: Actions,
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) breakers: Breakers,
    pub(crate) metrics: EventMetrics,
    pub(crate) refusals: Refusals,
}

/// The events of a process: what it stores, and what it applies.
pub(crate) struct Events {
    reception: Option<Arc<Reception>>,
    worker: Option<Arc<Worker>>,
    background: JoinSet<()>,
}

impl Events {
    /// Takes events in, and applies them where the settings say so.
    ///
    /// # Errors
    /// What is wrong with the files of the events directory.
    pub(crate) async fn serve(parts: Parts) -> anyhow::Result<Self> {
        if !parts.settings.events_dir.is_dir() {
            info!(dir = %parts.settings.events_dir.display(), "there is no such directory; no events are taken");
            return Ok(Self {
                reception: None,
                worker: None,
                background: JoinSet::new(),
            });
        }
        let surroundings = Surroundings {
            exposure: parts.exposure,
            ..Surroundings::new(parts.clock.clone())?
        };
        let secrets = SourceSecrets::new(
            parts.database.events().clone(),
            surroundings.made.clone(),
            parts.data_dir.clone(),
        );
        let rulebook = rulebook(&parts, &surroundings)?;
        let sources = &rulebook.edition().sources;
        secrets.give(sources).await;
        let silent: Vec<String> = sources
            .iter()
            .filter(|source| !source.missing().is_empty())
            .map(|source| format!("{} ({})", source.name, source.missing().join(", ")))
            .collect();
        if !silent.is_empty() {
            info!(
                sources = silent.join(", "),
                "these sources take no events until what stands behind their names is set"
            );
        }
        let (stored, heard) = (Wake::default(), Wake::default());
        let id = Uuid::new_v4();
        let mut background = JoinSet::new();
        let backlog = Backlog::new(parts.settings.events_backlog_limit, parts.metrics.clone());
        background.spawn(backlog.clone().measure(parts.database.clone()));
        background.spawn(worker::herald(id, parts.database.clone(), stored.clone()));
        background.spawn(measure(&parts));
        // Connections of their own, so that events do not take those of turns.
        let pool = parts.database.events();
        let wakes = [stored, heard.clone()];
        let reception = Reception {
            rulebook: Arc::clone(&rulebook),
            ingest: Ingest::start(pool.clone(), parts.clock.clone(), wakes, parts.metrics.clone()),
            backlog,
            pool: pool.clone(),
            clock: parts.clock.clone(),
            metrics: parts.metrics.clone(),
            refusals: parts.refusals.clone(),
        };
        let mut events = Self {
            reception: Some(Arc::new(reception)),
            worker: None,
            background,
        };
        events
            .background
            .spawn(Arc::clone(&rulebook).watch(RELOAD, Some(secrets)));
        if parts.settings.events_work {
            events.work_on(parts, rulebook, id, heard)?;
        }
        Ok(events)
    }

    /// Applies events that others take in.
    ///
    /// # Errors
    /// What is wrong with the files of the events directory.
    pub(crate) fn work(parts: Parts) -> anyhow::Result<Self> {
        let mut events = Self {
            reception: None,
            worker: None,
            background: JoinSet::new(),
        };
        let surroundings = Surroundings::new(parts.clock.clone())?;
        let rulebook = rulebook(&parts, &surroundings)?;
        // It takes nothing in: its sources need no secrets.
        events.background.spawn(Arc::clone(&rulebook).watch(RELOAD, None));
        events.background.spawn(measure(&parts));
        events.work_on(parts, rulebook, Uuid::new_v4(), Wake::default())?;
        Ok(events)
    }

    fn work_on(&mut self, parts: Parts, rulebook: Arc<Rulebook>, id: Uuid, wake: Wake) -> anyhow::Result<()> {
        let sender = Sender::new(Arc::clone(&parts.conversation), rulebook.channels(), parts.breakers)?;
        let applier = Applier {
            worker: id,
            pool: parts.database.events().clone(),
            clock: parts.clock.clone(),
            rulebook: Arc::clone(&rulebook),
            actions: parts.actions,
            log: Log::default(),
            dead_letters: DeadLetters::default(),
            faults: Faults::new(parts.metrics.clone()),
            wake: wake.clone(),
            due: SharedPartitions::default(),
            conversation: parts.conversation,
            notifications: parts.notifications,
            metrics: parts.metrics,
        };
        // One connection is left to quarantine, and one to what keeps time.
        let places = usize::try_from(parts.settings.events_pool_size.saturating_sub(2).max(1))?;
        let worker = Worker::new(id, parts.database.clone(), parts.clock.clone(), applier, wake, places);
        let keep = TimeDelta::days(parts.settings.events_retention_days.into());
        self.background.spawn(sender.run());
        self.background
            .spawn(retention::keep_small(parts.database, parts.clock, keep));
        self.background.spawn(Arc::clone(&worker).run());
        self.worker = Some(worker);
        Ok(())
    }

    /// The way in; `None` where no events are taken.
    pub(crate) fn reception(&self) -> Option<Arc<Reception>> {
        self.reception.clone()
    }

    /// Ends what is under way, which others or the next start go on with, and gives up the partitions.
    pub(crate) async fn stop(mut self) {
        self.background.shutdown().await;
        if let Some(worker) = &self.worker {
            worker.release().await;
        }
    }
}

/// What a command applies old events with.
///
/// # Errors
/// What is wrong with the bot's list, or with the files of the events directory.
pub(crate) fn applier(
    database: &Database,
    bot: Bot,
    settings: &EventSettings,
    notifications: NotificationSettings,
) -> anyhow::Result<Applier> {
    let (_, _, actions) = bot.into_routes()?;
    let (clock, metrics) = (database.clock().clone(), Metrics::default());
    let names: Vec<&'static str> = actions.keys().copied().collect();
    let surroundings = Surroundings::new(clock.clone())?;
    let rulebook = Rulebook::load(&settings.events_dir, &names, &surroundings).map_err(|errors| wrong(&errors))?;
    Ok(Applier {
        worker: Uuid::new_v4(),
        pool: database.events().clone(),
        clock: clock.clone(),
        rulebook: Arc::new(rulebook),
        actions,
        log: Log::default(),
        dead_letters: DeadLetters::default(),
        faults: Faults::new(metrics.events().clone()),
        wake: Wake::default(),
        due: SharedPartitions::default(),
        conversation: Conversation::new(database.clone(), clock, metrics.clone()),
        notifications,
        metrics: metrics.events().clone(),
    })
}

/// Everything that is wrong with the files of the events directory.
pub(crate) fn wrong(errors: &[FileError]) -> anyhow::Error {
    for error in errors.iter().skip(1) {
        warn!("{error}");
    }
    match errors {
        [error] => anyhow!("{error}"),
        [first, rest @ ..] => anyhow!(
            "{first} (and {} more errors; rejoinder events check lists them)",
            rest.len()
        ),
        [] => anyhow!("the events directory cannot be read"),
    }
}

/// Counts what waits, until dropped.
fn measure(parts: &Parts) -> impl Future<Output = ()> + use<> {
    survey(
        parts.database.clone(),
        parts.clock.clone(),
        parts.metrics.standing.clone(),
    )
}

fn rulebook(parts: &Parts, surroundings: &Surroundings) -> anyhow::Result<Arc<Rulebook>> {
    let names: Vec<&'static str> = parts.actions.keys().copied().collect();
    let rulebook = Rulebook::load(&parts.settings.events_dir, &names, surroundings);
    let rulebook = rulebook.map_err(|errors| wrong(&errors))?;
    Ok(Arc::new(rulebook))
}
