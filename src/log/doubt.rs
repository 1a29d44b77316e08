//! Partitions in doubt: the last worker ended without giving them up, and one of the events may be why. Workers that fall
//! silent are noted by the database, when their lease is taken from them.

use sqlx::{PgConnection, PgExecutor};

use crate::event::partition::Partition;

/// Whether a partition is in doubt.
pub(crate) async fn holds(executor: impl PgExecutor<'_>, partition: Partition) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from rejoinder.doubted_partitions where partition = $1) as "is_doubted!""#,
        partition.number()
    )
    .fetch_one(executor)
    .await
}

/// It is from now on.
pub(crate) async fn note(transaction: &mut PgConnection, partition: Partition) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.doubted_partitions (partition) values ($1) on conflict do nothing",
        partition.number()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// It no longer is: the events that may be why are parked.
pub(crate) async fn clear(transaction: &mut PgConnection, partition: Partition) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from rejoinder.doubted_partitions where partition = $1",
        partition.number()
    )
    .execute(transaction)
    .await?;
    Ok(())
}
