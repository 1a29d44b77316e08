//! What applying needs, and a partition as the worker that applies it knows it.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

use super::fault::Faults;
use crate::clock::Clock;
use crate::config::NotificationSettings;
use crate::conversation::Conversation;
use crate::event::envelope::Envelope;
use crate::event::metrics::EventMetrics;
use crate::event::partition::{Partition, SharedPartitions};
use crate::event::position::Position;
use crate::handler::reaction::Actions;
use crate::log::cursor::Cursor;
use crate::log::dead::DeadLetters;
use crate::log::wake::Wake;
use crate::log::{Log, doubt, parked};
use crate::reactions::effects::{Done, after_commit};
use crate::rulebook::Rulebook;

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
    /// Partitions in which something is due: a retry, or a join whose time is over.
    pub(crate) due: SharedPartitions,
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
    pub(super) partition: Partition,
    pub(super) cursor: Cursor,
    /// Entities that have parked events.
    pub(super) parked: HashSet<String>,
    /// Whether its last worker ended without giving it up: then one of the next events may have ended it.
    pub(super) is_doubted: bool,
}

/// In which way events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// For the first time: what fails is parked.
    New,
    /// Again, since it was parked: what fails stays parked, or is given up.
    Retry,
    /// Again, by hand: what fails is told. A dry run is rolled back and runs no action that is written in Rust.
    Replay { dry_run: bool },
    /// The first event of a join whose time is over: what fails is tried again, or the audit trail says so.
    TimeOut,
}

impl Lane {
    /// Reads where a partition stands.
    pub(crate) async fn load(pool: &PgPool, partition: Partition) -> sqlx::Result<Self> {
        Ok(Self {
            partition,
            cursor: Cursor::read(pool, partition).await?,
            parked: parked::entities(pool, partition).await?.into_iter().collect(),
            is_doubted: doubt::holds(pool, partition).await?,
        })
    }

    /// Up to where it is applied.
    pub(crate) fn position(&self) -> Position {
        self.cursor.position
    }

    /// Whether its last worker ended without giving it up.
    pub(crate) fn is_doubted(&self) -> bool {
        self.is_doubted
    }
}

impl Applier {
    /// What waits for a rule that was held is due, and whoever holds its partitions here is told.
    pub(super) async fn release(&self, rule: &str) -> sqlx::Result<()> {
        let partitions = parked::release(&self.pool, rule, self.clock.now()).await?;
        self.due.add(partitions);
        self.wake.add(partitions);
        Ok(())
    }

    /// Wakes who has something to do after a commit.
    pub(super) async fn tell(&self, emitted: &[Envelope], done: &[Done]) {
        self.wake.add(emitted.iter().map(Envelope::partition).collect());
        self.conversation.committed(&after_commit(done)).await;
    }
}
