//! Which partitions this worker may apply: shared evenly with the other workers that live.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::envelope::PARTITIONS;

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
        let mut transaction = self.pool.begin().await?;
        let partitions = share(&mut transaction, self.worker).await?;
        transaction.commit().await?;
        let before = self.held.send_replace(Held {
            partitions,
            until: asked + BELIEF,
        });
        Ok(partitions & !before.partitions)
    }

    /// Gives everything up, so that others need not wait.
    pub(crate) async fn release(&self) -> sqlx::Result<()> {
        self.held.send_modify(|held| held.partitions = 0);
        sqlx::query!("delete from event_workers where id = $1", self.worker)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// The worker's partitions, as bits.
async fn share(transaction: &mut PgConnection, worker: Uuid) -> sqlx::Result<u32> {
    // One worker at a time shares out; what is seen below is what the one before left.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('rejoinder event leases'))")
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        "delete from event_workers where seen_at < clock_timestamp() - interval '5 seconds' and id <> $1",
        worker
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into event_workers (id, seen_at) values ($1, clock_timestamp())
         on conflict (id) do update set seen_at = excluded.seen_at",
        worker
    )
    .execute(&mut *transaction)
    .await?;
    let workers = sqlx::query_scalar!(r#"select count(*) as "count!" from event_workers"#)
        .fetch_one(&mut *transaction)
        .await?;
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let fair = i64::from(u32::from(PARTITIONS).div_ceil(workers));
    sqlx::query!(
        "delete from event_leases where partition in
             (select partition from event_leases where worker = $1 order by partition offset $2)",
        worker,
        fair
    )
    .execute(&mut *transaction)
    .await?;
    let partitions = sqlx::query_scalar!(
        r#"with mine as (select partition from event_leases where worker = $1),
         taken as (
             insert into event_leases (partition, worker)
             select free.partition, $1 from generate_series(0, 31) free (partition)
             where not exists (select from event_leases l where l.partition = free.partition)
             order by free.partition limit greatest($2 - (select count(*) from mine), 0)
             returning partition
         )
         select partition as "partition!" from mine union all select partition from taken"#,
        worker,
        fair
    )
    .fetch_all(transaction)
    .await?;
    Ok(partitions
        .into_iter()
        .fold(0, |bits, partition| bits | 1u32 << partition))
}
