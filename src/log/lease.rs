//! Which partitions this worker may apply: shared evenly with the other workers that live.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// How often a worker says that it lives.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// How long a worker believes in its leases since it last said that it lives: less than the five seconds after which
/// the others take them.
const BELIEF: Duration = Duration::from_secs(4);

/// The partitions of one worker.
#[derive(Debug)]
pub(crate) struct Leases {
    worker: Uuid,
    pool: PgPool,
    held: watch::Sender<Held>,
}

/// What a worker holds, and for how long it may believe so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Bits of the partitions.
    pub(crate) partitions: u32,
    until: Instant,
}

impl Held {
    /// Whether the partition is this worker's now.
    pub(crate) fn holds(&self, partition: u8) -> bool {
        self.partitions & (1 << partition) != 0 && Instant::now() < self.until
    }
}

impl Leases {
    /// Holds nothing yet.
    pub(crate) fn new(worker: Uuid, pool: PgPool) -> Self {
        let nothing = Held {
            partitions: 0,
            until: Instant::now(),
        };
        Self {
            worker,
            pool,
            held: watch::Sender::new(nothing),
        }
    }

    /// What is held now.
    pub(crate) fn held(&self) -> Held {
        *self.held.borrow()
    }

    /// Says that the worker lives, and takes or gives up partitions so that all workers have as many. Returns those
    /// that are new, as bits.
    pub(crate) async fn beat(&self) -> sqlx::Result<u32> {
        let asked = Instant::now();
        let partitions = sqlx::query_scalar!(r#"select rejoinder.share_partitions($1) as "partitions!""#, self.worker)
            .fetch_one(&self.pool)
            .await?
            .cast_unsigned();
        let before = self.held.send_replace(Held {
            partitions,
            until: asked + BELIEF,
        });
        Ok(partitions & !before.partitions)
    }

    /// Gives everything up, so that others need not wait.
    pub(crate) async fn release(&self) -> sqlx::Result<()> {
        self.held.send_modify(|held| held.partitions = 0);
        sqlx::query!("delete from rejoinder.event_workers where id = $1", self.worker)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
