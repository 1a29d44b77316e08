//! Events as actions written in Rust see them, and those actions: for what a rule cannot say.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::handler::Tx;

/// An event, as an action sees it.
///
/// ```
/// use rejoinder::{Bot, Event, Tx, anyhow, sqlx};
///
/// async fn confirm(event: Event, mut tx: Tx) -> anyhow::Result<()> {
///     let confirm = sqlx::query("update orders set status = 'confirmed' where id = $1");
///     confirm.bind(&event.entity_id).execute(&mut *tx).await?;
///     Ok(())
/// }
///
/// let bot = Bot::new().reaction("confirm_order", confirm);
/// # bot.check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    /// Name of the source that let it in.
    pub source: String,
    /// The sender's id.
    pub event_id: String,
    /// Such as `order.shipped`.
    pub event_type: String,
    /// What it is about.
    pub entity_id: String,
    /// Whom it concerns, where the source says so.
    pub user_id: Option<String>,
    /// When it happened, as the sender says.
    pub timestamp: DateTime<Utc>,
    /// Its payload, in the newest version of its schema.
    pub payload: Value,
}

impl Event {
    /// The payload, typed.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        T::deserialize(&self.payload)
    }
}

/// A registered action.
pub(crate) type Action = Arc<dyn Fn(Event, Tx) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// The registered actions, by name.
pub(crate) type Actions = HashMap<&'static str, Action>;

/// Makes an action of an async function.
pub(crate) fn action<F, Fut>(run: F) -> Action
where
    F: Fn(Event, Tx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Arc::new(move |event, transaction| Box::pin(run(event, transaction)))
}
