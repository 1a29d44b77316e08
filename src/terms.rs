//! What all connections of a service go by: how long they may be silent, how many there may be, and when they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// How long a connection may be silent while more than half of the places are taken.
const CROWDED_PATIENCE: Duration = Duration::from_secs(5);

/// What all connections of a service go by. Clones share it.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) keep_alive: Duration,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) max_connections: u32,
    pub(crate) leaving: CancellationToken,
    pub(crate) stopping: CancellationToken,
}

impl Terms {
    pub(crate) fn new(keep_alive: Duration, max_connections: u32) -> Self {
        Self {
            keep_alive,
            places: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// How long a connection may be silent between two requests.
    pub(crate) fn patience(&self) -> Duration {
        if self.places.available_permits() < self.max_connections as usize / 2 {
            self.keep_alive.min(CROWDED_PATIENCE)
        } else {
            self.keep_alive
        }
    }

    /// Whether each answer is the last of its connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// From now on each answer is the last of its connection.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits until silent connections are closed.
    pub(crate) fn stop(&self) -> WaitForCancellationFuture<'_> {
        self.stopping.cancelled()
    }
}
