//! Hearing what other processes tell, on a connection of its own, which is asked now and then whether it is still there.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use sqlx::{Acquire as _, Connection as _};

use super::silence::in_time;
use super::{ANSWER, Database};

/// After so long without a notification the connection is asked.
const QUIET: Duration = Duration::from_secs(15);

/// A connection that listens.
pub(crate) struct Listener(PgListener);

impl Database {
    /// Listens on these channels; what is told from now on is heard.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(crate) async fn listen(&self, channels: &[&str]) -> sqlx::Result<Listener> {
        // Not one of a pool's: those are for work.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER * 5)
            .connect_lazy_with(self.events().connect_options().as_ref().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        in_time(ANSWER * 5, listener.listen_all(channels.iter().copied())).await?;
        Ok(Listener(listener))
    }
}

impl Listener {
    /// The next notification; `None` when none has come for a while, or the connection is a new one: then something may
    /// have been missed, and it is time to look.
    ///
    /// # Errors
    /// When the connection is lost, or silent.
    pub(crate) async fn next(&mut self) -> sqlx::Result<Option<PgNotification>> {
        match tokio::time::timeout(QUIET, self.0.try_recv()).await {
            Ok(heard) => heard,
            Err(_) => {
                in_time(ANSWER * 5, async { self.0.acquire().await?.ping().await }).await?;
                Ok(None)
            }
        }
    }
}
