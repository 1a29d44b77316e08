//! What is refused: counted, logged at most once a second of each kind, and put on the audit trail once a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Door;
use crate::event::metrics::EventMetrics;
use crate::log::audit::{self, Entry};
use crate::postgres::Database;

/// How long nothing more is said of a kind.
const QUIET: Duration = Duration::from_secs(1);

/// How often the audit trail is told.
const AUDITED: Duration = Duration::from_secs(60);

/// Who is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// Whoever asks at a door.
    Caller(Door),
    /// A source of events.
    Source(String),
}

/// What was refused of somebody for a reason. There are few: no name that a stranger has made up is one.
type Kind = (Who, &'static str);

/// Tells of refusals; clones share what was left out.
#[derive(Clone)]
pub(crate) struct Refusals {
    metrics: EventMetrics,
    kinds: Arc<Mutex<HashMap<Kind, Counts>>>,
}

#[derive(Default)]
struct Counts {
    /// Since the last line; none where the next one is logged at once.
    left_out: Option<Count>,
    /// Since the audit trail was told.
    untold: Count,
}

#[derive(Clone, Debug, Default)]
struct Count {
    /// How often it was refused.
    times: u64,
    /// Events of requests that were read.
    events: u64,
    /// Of the last one.
    detail: String,
}

impl Count {
    fn add(&mut self, events: u64, detail: &str) {
        self.times += 1;
        self.events += events;
        detail.clone_into(&mut self.detail);
    }
}

impl Refusals {
    pub(crate) fn new(metrics: EventMetrics) -> Self {
        Self {
            metrics,
            kinds: Arc::default(),
        }
    }

    /// A request at a door is not taken. `detail` says more of why; like the reason it holds nothing of the body.
    pub(crate) fn of_caller(&self, door: Door, reason: &'static str, detail: &str) {
        self.note((Who::Caller(door), reason), 0, detail);
    }

    /// A request of a source, or `events` of one, are not taken.
    pub(crate) fn of_source(&self, source: &str, reason: &'static str, events: u64, detail: &str) {
        self.metrics.refused(source, reason);
        self.note((Who::Source(source.to_owned()), reason), events, detail);
    }

    /// The first of a kind is logged at once, those that follow within a second by one line at its end, which counts them.
    fn note(&self, kind: Kind, events: u64, detail: &str) {
        let mut kinds = self.kinds();
        let counts = kinds.entry(kind.clone()).or_default();
        counts.untold.add(events, detail);
        if let Some(left_out) = &mut counts.left_out {
            left_out.add(events, detail);
            return;
        }
        counts.left_out = Some(Count::default());
        drop(kinds);
        let mut first = Count::default();
        first.add(events, detail);
        say(&kind, &first);
        tokio::spawn(self.clone().tell_rest(kind));
    }

    /// Tells each second what was left out, until nothing was.
    async fn tell_rest(self, kind: Kind) {
        loop {
            tokio::time::sleep(QUIET).await;
            let mut kinds = self.kinds();
            let counts = kinds.entry(kind.clone()).or_default();
            let Some(left_out) = counts.left_out.take().filter(|left_out| left_out.times > 0) else {
                return;
            };
            counts.left_out = Some(Count::default());
            drop(kinds);
            say(&kind, &left_out);
        }
    }

    /// Puts them on the audit trail each minute; runs until dropped.
    pub(crate) async fn audited(self, database: Database, clock: Clock) {
        loop {
            tokio::time::sleep(AUDITED).await;
            if let Err(error) = database.within(self.audit(database.events(), &clock)).await {
                info!(error = %error, "refusals not put on the audit trail; trying again in a minute");
            }
        }
    }

    /// Puts those that are not yet on the audit trail there, a line for each kind.
    pub(crate) async fn audit(&self, pool: &PgPool, clock: &Clock) -> sqlx::Result<()> {
        let untold: Vec<(Kind, Count)> = {
            let kinds = self.kinds();
            let untold = kinds.iter().filter(|(_, counts)| counts.untold.times > 0);
            untold
                .map(|(kind, counts)| (kind.clone(), counts.untold.clone()))
                .collect()
        };
        if untold.is_empty() {
            return Ok(());
        }
        let mut transaction = pool.begin().await?;
        for ((who, reason), count) in &untold {
            let actor = match who {
                Who::Caller(door) => format!("caller at {}", door.name()),
                Who::Source(source) => format!("source {source}"),
            };
            let entry = Entry {
                actor: &actor,
                action: audit::REFUSED,
                position: None,
                detail: &format!(
                    "{reason}, {} times; the last: {}",
                    count.times,
                    count.detail.escape_debug()
                ),
            };
            audit::write(&mut transaction, &entry, clock.now()).await?;
        }
        transaction.commit().await?;
        let mut kinds = self.kinds();
        for (kind, told) in &untold {
            if let Some(counts) = kinds.get_mut(kind) {
                counts.untold.times -= told.times;
                counts.untold.events -= told.events;
            }
        }
        kinds.retain(|_, counts| counts.left_out.is_some() || counts.untold.times > 0);
        Ok(())
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Counts>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of properties, which a sender chooses, may stand in the detail: it is written with escapes.
fn say((who, reason): &Kind, Count { times, events, detail }: &Count) {
    match who {
        Who::Caller(door) => warn!(door = door.name(), reason, times, ?detail, "a caller was refused"),
        Who::Source(source) => warn!(source, reason, times, events, ?detail, "a sender was refused"),
    }
}
