//! Applying events: each partition's in order, one transaction for many, with everything that comes of them.

mod action;
mod batch;
mod emit;
mod fate;
mod judge;
mod time_out;

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::PgPool;
use tracing::warn;
use uuid::Uuid;

use self::batch::Batch;
pub(crate) use self::fate::{Fate, RuleOutcome};
use super::cursor::Cursor;
use super::dead::DeadLetters;
use super::envelope::Envelope;
use super::log::{self, Log, Logged};
use super::metrics::EventMetrics;
use super::parked::{self, Due};
use super::wake::Wake;
use crate::clock::Clock;
use crate::config::NotificationSettings;
use crate::conversation::{Conversation, Done};
use crate::postgres::is_about_data;
use crate::reactions::{Actions, Rulebook};

/// What applying events needs.
pub(crate) struct Applier {
    pub(crate) worker: Uuid,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) rulebook: Arc<Rulebook>,
    pub(crate) actions: Actions,
    pub(crate) log: Log,
    pub(crate) dead_letters: DeadLetters,
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
}

/// In which way events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For the first time: what fails is parked.
    New,
    /// Again, after so many attempts.
    Retry { attempts: i32 },
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
        })
    }

    /// Up to where it is applied.
    pub(crate) fn position(&self) -> i64 {
        self.cursor.position
    }
}

impl Applier {
    /// Applies the next events of a partition, in order. What fails is parked.
    pub(crate) async fn apply(&self, lane: &mut Lane, events: &[Logged]) -> Result<(), Halt> {
        match self.attempt(lane, events, Kind::New).await {
            // One of them has data that the database does not take.
            Err(Halt::Database(error)) if is_about_data(&error) => {
                for event in events {
                    self.apply_alone(lane, event, Kind::New).await?;
                }
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Tries a parked event again; false when it is not in the log any more.
    pub(crate) async fn retry(&self, lane: &mut Lane, due: &Due) -> Result<bool, Halt> {
        let found = log::at(&self.pool, lane.partition, &[due.position]).await?;
        let Some(event) = found.first() else {
            warn!(
                position = due.position,
                "a parked event is not in the log any more; it waits no longer"
            );
            parked::drop(&self.pool, lane.partition, due.position).await?;
            return Ok(false);
        };
        let kind = Kind::Retry { attempts: due.attempts };
        self.apply_alone(lane, event, kind).await.map(|()| true)
    }

    /// Applies old events of a partition again: what they have done already is not done twice, what new rules make of
    /// them is. Returns what came of each.
    pub(crate) async fn replay(&self, lane: &mut Lane, events: &[Logged], dry_run: bool) -> Result<Vec<Fate>, Halt> {
        self.attempt(lane, events, Kind::Replay { dry_run }).await
    }

    async fn apply_alone(&self, lane: &mut Lane, event: &Logged, kind: Kind) -> Result<(), Halt> {
        match self.attempt(lane, std::slice::from_ref(event), kind).await {
            Err(Halt::Database(error)) if is_about_data(&error) => {
                self.settle(lane, event, kind, &error.to_string()).await
            }
            done => done.map(drop),
        }
    }

    /// Ends an attempt that the database has refused.
    async fn settle(&self, lane: &mut Lane, event: &Logged, kind: Kind, error: &str) -> Result<(), Halt> {
        let events = std::slice::from_ref(event);
        let (mut batch, transaction) = Batch::begin(self, lane, events, kind).await?;
        batch.fates = vec![Fate::Failed(error.to_owned())];
        batch.finish(lane, transaction).await.map(drop)
    }

    async fn attempt(&self, lane: &mut Lane, events: &[Logged], kind: Kind) -> Result<Vec<Fate>, Halt> {
        let (mut batch, transaction) = Batch::begin(self, lane, events, kind).await?;
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
