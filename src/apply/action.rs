//! Actions that are written in Rust, in the transaction of their event.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use sqlx::{Postgres, Transaction};

use super::applier::{Applier, Halt};
use crate::handler::Tx;
use crate::handler::reaction::Event;
use crate::log::Logged;

/// How long an action written in Rust may take.
const ACTION_LIMIT: Duration = Duration::from_secs(10);

impl Applier {
    /// Runs an action that is written in Rust; its error as text.
    pub(super) async fn run(
        &self,
        name: &str,
        event: Event,
        transaction: Transaction<'static, Postgres>,
    ) -> Result<(Result<(), String>, Transaction<'static, Postgres>), Halt> {
        let Some(action) = self.actions.get(name) else {
            return Ok((Err(format!("there is no action {name:?}")), transaction));
        };
        let (tx, home) = Tx::around(transaction);
        let running = AssertUnwindSafe(async { action(event, tx).await }).catch_unwind();
        let done = match tokio::time::timeout(ACTION_LIMIT, running).await {
            Ok(Ok(done)) => done.map_err(|error| format!("action {name}: {error:#}")),
            Ok(Err(_)) => Err(format!("action {name} panicked")),
            Err(_) => Err(format!("action {name} took longer than {} s", ACTION_LIMIT.as_secs())),
        };
        // An action that keeps its transaction for itself has kept the connection, too.
        let transaction = home.take().ok_or(sqlx::Error::WorkerCrashed)?;
        Ok((done, transaction.into_inner()))
    }
}

pub(super) fn event_of(event: &Logged, payload: Value) -> Event {
    let envelope = &event.envelope;
    Event {
        source: envelope.source.to_string(),
        event_id: envelope.event_id.clone(),
        event_type: envelope.event_type.clone(),
        entity_id: envelope.entity_id.clone(),
        user_id: envelope.user_id.clone(),
        timestamp: envelope.timestamp,
        payload,
    }
}
