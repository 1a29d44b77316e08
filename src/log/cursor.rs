//! How far a partition is applied, and the fence that keeps two workers from applying one event.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::event::partition::{Partition, Partitions};
use crate::event::position::Position;

/// The place up to which a partition is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Counts the transactions that applied anything: the fencing token.
    pub(crate) seq: i64,
    /// All events up to here are applied, parked or dead.
    pub(crate) position: Position,
}

impl Cursor {
    /// Reads where the partition stands.
    pub(crate) async fn read(executor: impl PgExecutor<'_>, partition: Partition) -> sqlx::Result<Self> {
        let last = sqlx::query_as!(
            Self,
            "select seq, position from rejoinder.event_cursors where partition = $1 order by seq desc limit 1",
            partition.number()
        )
        .fetch_optional(executor)
        .await?;
        Ok(last.unwrap_or_default())
    }

    /// Moves on to `position` in the transaction that applies what comes before it; `None` when another worker has
    /// been in the partition since this cursor was read. Then nothing may be committed.
    pub(crate) async fn advance(
        self,
        transaction: &mut PgConnection,
        partition: Partition,
        position: Position,
        worker: Uuid,
    ) -> sqlx::Result<Option<Self>> {
        let seq = self.seq + 1;
        let is_ours = sqlx::query_scalar!(
            r#"select rejoinder.advance_cursor($1, $2, $3, $4) as "is_ours!""#,
            partition.number(),
            seq,
            position.number(),
            worker
        )
        .fetch_one(transaction)
        .await?;
        Ok(is_ours.then_some(Self { seq, position }))
    }
}

/// Waits until no transaction is applying anything, and lets none begin until this one ends. Whoever has read events before
/// reads them anew.
pub(crate) async fn fence_all(transaction: &mut PgConnection) -> sqlx::Result<()> {
    let partitions = Partitions::ALL.numbers();
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext('rejoinder event partition'), p.partition)
         from unnest($1::smallint[]) p (partition)",
        &partitions
    )
    .execute(&mut *transaction)
    .await?;
    // A statement of its own, and so a snapshot of its own, taken with the locks held.
    sqlx::query!(
        "insert into rejoinder.event_cursors (partition, seq, position, worker)
         select p.partition, coalesce(c.seq, 0) + 1, coalesce(c.position, 0), $1
         from unnest($2::smallint[]) p (partition)
         left join lateral (
             select c.seq, c.position from rejoinder.event_cursors c where c.partition = p.partition order by c.seq desc limit 1
         ) c on true",
        Uuid::nil(),
        &partitions
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Deletes rows that say nothing any more.
pub(crate) async fn prune(executor: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "delete from rejoinder.event_cursors c using (select partition, max(seq) as last from rejoinder.event_cursors group by partition) l
         where c.partition = l.partition and c.seq < l.last"
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}
