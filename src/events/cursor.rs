//! How far a partition is applied, and the fence that keeps two workers from applying one event.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// The place up to which a partition is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Counts the transactions that applied anything: the fencing token.
    pub(crate) seq: i64,
    /// All events up to here are applied, parked or dead.
    pub(crate) position: i64,
}

impl Cursor {
    /// Reads where the partition stands.
    pub(crate) async fn read(executor: impl PgExecutor<'_>, partition: u8) -> sqlx::Result<Self> {
        let last = sqlx::query_as!(
            Self,
            "select seq, position from event_cursors where partition = $1 order by seq desc limit 1",
            i16::from(partition)
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
        partition: u8,
        position: i64,
        worker: Uuid,
    ) -> sqlx::Result<Option<Self>> {
        let seq = self.seq + 1;
        let is_ours = sqlx::query_scalar!(
            r#"select advance_cursor($1, $2, $3, $4) as "is_ours!""#,
            i16::from(partition),
            seq,
            position,
            worker
        )
        .fetch_one(transaction)
        .await?;
        Ok(is_ours.then_some(Self { seq, position }))
    }
}

/// Deletes rows that say nothing any more.
pub(crate) async fn prune(executor: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "delete from event_cursors c using (select partition, max(seq) as last from event_cursors group by partition) l
         where c.partition = l.partition and c.seq < l.last"
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}
