//! Applying events: each partition's in order, one transaction for many, with everything that comes of them.

mod action;
mod batch;
mod emit;
mod fate;
mod fault;
mod judge;
mod time_out;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::warn;
use uuid::Uuid;

use self::batch::Batch;
pub(crate) use self::fate::{Failure, Fate, RuleOutcome};
pub(crate) use self::fault::Faults;
use super::cursor::Cursor;
use super::dead::DeadLetters;
use super::envelope::Envelope;
use super::log::{self, Log, Logged};
use super::metrics::EventMetrics;
use super::parked::{self, Due, MAX_ATTEMPTS};
use super::wake::Wake;
use crate::clock::Clock;
use crate::config::NotificationSettings;
use crate::conversation::{Conversation, Done};
use crate::postgres::is_about_data;
use crate::reactions::{Actions, Rulebook};

/// What one transaction applies at most, in events and in bytes of payload.
pub(crate) const BATCH_EVENTS: i64 = 500;
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// By how much fewer events are tried in one transaction after a process has ended during an attempt that is on record:
/// soon the one that does it is alone.
const FEWER: usize = 8;

/// Why what ends its process each time is given up.
const ENDED: &str = "the process ended each time it was tried";

/// What applying events needs.
pub(crate) struct Applier {
    pub(crate) worker: Uuid,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) actions: Actions,
    pub(crate) log: Log,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) faults: Faults,
    pub(crate) wake: Wake,
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) notifications: NotificationSettings,
    pub(crate) metrics: EventMetrics,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// The partition is not as it was read: another worker has been there, or a crash has taken events back.
    #[error("the partition is not as it was read")]
    Fenced,
    /// The database cannot.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A partition, as the worker that applies it knows it.
#[derive(Debug)]
pub(crate) struct Lane {
    partition: u8,
    cursor: Cursor,
    /// Entities that have parked events.
    parked: HashSet<String>,
    /// Whether its last worker ended without giving it up: then one of the next events may have ended it.
    is_doubted: bool,
}

/// In which way events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For the first time: what fails is parked.
    New,
    /// Again, since it was parked: what fails stays parked, or is given up.
    Retry,
    /// Again, by hand: what fails is told. A dry run is rolled back and runs no action that is written in Rust.
    Replay { dry_run: bool },
}

impl Lane {
    /// Reads where a partition stands.
    pub(crate) async fn load(pool: &PgPool, partition: u8) -> sqlx::Result<Self> {
        Ok(Self {
            partition,
            cursor: Cursor::read(pool, partition).await?,
            parked: parked::entities(pool, partition).await?.into_iter().collect(),
            is_doubted: parked::is_doubted(pool, partition).await?,
        })
    }

    /// Up to where it is applied.
    pub(crate) fn position(&self) -> i64 {
        self.cursor.position
    }

    /// Whether its last worker ended without giving it up.
    pub(crate) fn is_doubted(&self) -> bool {
        self.is_doubted
    }
}

impl Applier {
    /// Reads where a partition stands, and which rules are held there.
    pub(crate) async fn load(&self, partition: u8) -> sqlx::Result<Lane> {
        for held in parked::held_rules(&self.pool, Some(partition)).await? {
            self.faults.restore(&held.rule, self.clock.now());
        }
        Lane::load(&self.pool, partition).await
    }

    /// Applies the next events of a partition, in order. What fails is parked. Where the last worker may have been ended
    /// by one of them, all are parked first, and tried with care.
    pub(crate) async fn apply(&self, lane: &mut Lane, events: &[Logged]) -> Result<(), Halt> {
        if lane.is_doubted {
            return self.doubt(lane, events).await;
        }
        if events.is_empty() {
            return Ok(());
        }
        match self.attempt(lane, events, Kind::New, HashMap::new()).await {
            // One of them has data that the database does not take.
            Err(Halt::Database(error)) if is_about_data(&error) => {
                for event in events {
                    self.apply_alone(lane, event, Kind::New, 0).await?;
                }
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Tries parked events again that are due, many in one transaction; false when none is.
    pub(crate) async fn retry(&self, lane: &mut Lane) -> Result<bool, Halt> {
        let now = self.clock.now();
        let due = parked::due(&self.pool, lane.partition, now, self.worker, BATCH_EVENTS).await?;
        let due = one_batch(due);
        let positions: Vec<i64> = due.iter().map(|due| due.position).collect();
        let events = log::at(&self.pool, lane.partition, &positions, BATCH_BYTES).await?;
        let due = self.still_there(lane, due, &events, now).await?;
        let (Some(first), Some(first_event)) = (due.first(), events.first()) else {
            return Ok(!positions.is_empty());
        };
        if first.is_suspect && first.attempts >= MAX_ATTEMPTS {
            let why = Failure::of_none(ENDED);
            self.settle(lane, first_event, Kind::Retry, first.attempts - 1, why)
                .await?;
            return Ok(true);
        }
        parked::begin(&self.pool, lane.partition, &due.iter().collect::<Vec<_>>(), self.worker).await?;
        let attempts = due.iter().map(|due| (due.position, due.attempts)).collect();
        let fates = match self.attempt(lane, &events, Kind::Retry, attempts).await {
            Err(Halt::Database(error)) if is_about_data(&error) => self.retry_each(lane, &due, &events).await?,
            done => done?,
        };
        self.release_mended(&due, &fates).await?;
        Ok(true)
    }

    /// Of events that are due, those that are in the log and among `events`; the wait of those that are gone ends.
    async fn still_there(
        &self,
        lane: &Lane,
        due: Vec<Due>,
        events: &[Logged],
        now: DateTime<Utc>,
    ) -> sqlx::Result<Vec<Due>> {
        let there: HashSet<i64> = events.iter().map(|event| event.position).collect();
        // Behind the last one they were not read, because it was enough.
        let last = events.last().map_or(i64::MAX, |event| event.position);
        let (mut still, gone): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|due| there.contains(&due.position));
        for gone in gone.iter().filter(|gone| gone.position < last) {
            warn!(
                position = gone.position,
                "a parked event is not in the log any more; it waits no longer"
            );
            parked::drop(&self.pool, lane.partition, gone, now).await?;
        }
        still.sort_by_key(|due| due.position);
        Ok(still)
    }

    /// Tries parked events one by one, because the database has refused what comes of one.
    async fn retry_each(&self, lane: &mut Lane, due: &[Due], events: &[Logged]) -> Result<Vec<Fate>, Halt> {
        let mut held_up = HashSet::new();
        let mut fates = Vec::with_capacity(events.len());
        for (due, event) in due.iter().zip(events) {
            let fate = if held_up.contains(&due.entity_id) {
                Fate::Waits
            } else {
                self.apply_alone(lane, event, Kind::Retry, due.attempts).await?
            };
            if let Fate::Failed(_) = fate {
                held_up.insert(&due.entity_id);
            }
            fates.push(fate);
        }
        Ok(fates)
    }

    /// A rule that has failed for an event which is applied now is mended: what waits for it is due.
    async fn release_mended(&self, due: &[Due], fates: &[Fate]) -> sqlx::Result<()> {
        for (due, fate) in due.iter().zip(fates) {
            if let (Some(rule), Fate::Applied(_) | Fate::Unheard) = (&due.rule, fate)
                && self.faults.mended(rule)
            {
                parked::release(&self.pool, rule, self.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Parks events that the last worker may have been applying when it ended. They are tried as all parked ones are: on
    /// record before, and fewer at once each time that ends a process.
    async fn doubt(&self, lane: &mut Lane, events: &[Logged]) -> Result<(), Halt> {
        let mut transaction = self.pool.begin().await?;
        let position = events.last().map_or(lane.cursor.position, |event| event.position);
        let cursor = lane
            .cursor
            .advance(&mut transaction, lane.partition, position, self.worker);
        let cursor = cursor.await?.ok_or(Halt::Fenced)?;
        if let Some(last) = events.last()
            && !log::holds(&mut *transaction, last).await?
        {
            return Err(Halt::Fenced);
        }
        parked::doubt(&mut transaction, lane.partition, events, &lane.parked, self.clock.now()).await?;
        transaction.commit().await?;
        lane.cursor = cursor;
        lane.is_doubted = false;
        lane.parked
            .extend(events.iter().map(|event| event.envelope.entity_id.clone()));
        Ok(())
    }

    /// Applies old events of a partition again: what they have done already is not done twice, what new rules make of
    /// them is. Returns what came of each.
    pub(crate) async fn replay(&self, lane: &mut Lane, events: &[Logged], dry_run: bool) -> Result<Vec<Fate>, Halt> {
        let kind = Kind::Replay { dry_run };
        self.attempt(lane, events, kind, HashMap::new()).await
    }

    async fn apply_alone(&self, lane: &mut Lane, event: &Logged, kind: Kind, attempts: i32) -> Result<Fate, Halt> {
        let before = HashMap::from([(event.position, attempts)]);
        let fates = match self.attempt(lane, std::slice::from_ref(event), kind, before).await {
            Err(Halt::Database(error)) if is_about_data(&error) => {
                self.settle(lane, event, kind, attempts, Failure::of_none(error))
                    .await?
            }
            done => done?,
        };
        Ok(fates.into_iter().next().unwrap_or(Fate::Waits))
    }

    /// Ends an attempt that cannot be made, or that the database has refused.
    async fn settle(
        &self,
        lane: &mut Lane,
        event: &Logged,
        kind: Kind,
        attempts: i32,
        why: Failure,
    ) -> Result<Vec<Fate>, Halt> {
        let events = std::slice::from_ref(event);
        let before = HashMap::from([(event.position, attempts)]);
        let (mut batch, transaction) = Batch::begin(self, lane, events, kind, before).await?;
        batch.fates = vec![Fate::Failed(why)];
        batch.finish(lane, transaction).await
    }

    async fn attempt(
        &self,
        lane: &mut Lane,
        events: &[Logged],
        kind: Kind,
        attempts: HashMap<i64, i32>,
    ) -> Result<Vec<Fate>, Halt> {
        let (mut batch, transaction) = Batch::begin(self, lane, events, kind, attempts).await?;
        let transaction = batch.decide(lane, transaction).await?;
        batch.finish(lane, transaction).await
    }

    /// Wakes who has something to do after a commit.
    async fn tell(&self, emitted: &[Envelope], done: &[Done]) {
        self.wake
            .add(emitted.iter().fold(0, |bits, event| bits | 1 << event.partition()));
        self.conversation.committed(done).await;
    }
}

/// As many of the events that are due as are tried in one transaction.
fn one_batch(mut due: Vec<Due>) -> Vec<Due> {
    let mut most = due.len();
    for (index, due) in due.iter().enumerate() {
        if due.is_suspect
            && let Some(tried_with) = due.tried_with
        {
            let fewer = usize::try_from(tried_with).unwrap_or_default() / FEWER;
            most = most.min(fewer.max(1)).max(index);
        }
        if index >= most {
            break;
        }
    }
    due.truncate(most);
    due
}
