//! Which partitions this worker may apply: shared evenly with the other workers that live.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::event::partition::Partitions;

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
#[derive(Debug)]
struct Held {
    partitions: Partitions,
    until: Instant,
}

impl Leases {
    /// Holds nothing yet.
    pub(crate) fn new(worker: Uuid, pool: PgPool) -> Self {
        let nothing = Held {
            partitions: Partitions::default(),
            until: Instant::now(),
        };
        Self {
            worker,
            pool,
            held: watch::Sender::new(nothing),
        }
    }

    /// The partitions that are this worker's now.
    pub(crate) fn held(&self) -> Partitions {
        let held = self.held.borrow();
        if Instant::now() < held.until {
            held.partitions
        } else {
            Partitions::default()
        }
    }

    /// Says that the worker lives, and takes or gives up partitions so that all workers have as many. Returns those
    /// that are new.
    pub(crate) async fn beat(&self) -> sqlx::Result<Partitions> {
        let asked = Instant::now();
        let bits = sqlx::query_scalar!(r#"select rejoinder.share_partitions($1) as "partitions!""#, self.worker)
            .fetch_one(&self.pool)
            .await?;
        let partitions = Partitions::from_bits(bits.cast_unsigned());
        let before = self.held.send_replace(Held {
            partitions,
            until: asked + BELIEF,
        });
        Ok(partitions.without(before.partitions))
    }

    /// Gives everything up, so that others need not wait.
    pub(crate) async fn release(&self) -> sqlx::Result<()> {
        self.held.send_modify(|held| held.partitions = Partitions::default());
        sqlx::query!("delete from rejoinder.event_workers where id = $1", self.worker)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
