//! The shop's orders, where events change them.

use anyhow::ensure;
use rejoinder::{Event, Tx};

/// An order is paid, and its goods are set aside.
pub(crate) async fn confirm(event: Event, mut tx: Tx) -> anyhow::Result<()> {
    let confirmed = sqlx::query!(
        "update orders set status = case when status = 'placed' then 'confirmed' else status end where id = $1",
        event.entity_id
    )
    .execute(&mut *tx)
    .await?;
    ensure!(confirmed.rows_affected() == 1, "there is no order {}", event.entity_id);
    Ok(())
}
