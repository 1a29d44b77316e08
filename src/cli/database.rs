//! How a command reaches the database of the service.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::postgres::embedded::Embedded;
use crate::postgres::{ConnectSettings, Database, NotConnected, SILENCE};

/// Connections that a command has, and how long it waits for one.
pub(super) const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// The database, for one command.
pub(super) struct Reached {
    pub(super) database: Database,
    /// The private PostgreSQL, where no service runs it: it ends with the command.
    _private: Option<Embedded>,
}

impl Reached {
    /// With so many connections for events: `DATABASE_URL`, else the private PostgreSQL of a service that runs, else that of one which does not.
    ///
    /// # Errors
    /// When none of them answers.
    pub(super) async fn find(settings: &DatabaseSettings, connections: u32) -> anyhow::Result<Self> {
        if let Some(options) = settings.primary()? {
            let database = connect(options, connections)
                .await
                .context("DATABASE_URL: the database cannot be used")?;
            return Ok(Self {
                database,
                _private: None,
            });
        }
        if let Some(options) = Embedded::running(&settings.data_dir)
            && let Ok(database) = connect(options, connections).await
        {
            return Ok(Self {
                database,
                _private: None,
            });
        }
        let private = Embedded::start(&settings.data_dir, &settings.programs)
            .with_context(|| format!("DATA_DIR: no private PostgreSQL in {}", settings.data_dir.display()))?;
        Ok(Self {
            database: connect(private.options(), connections).await?,
            _private: Some(private),
        })
    }

    /// What time it is there.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.database.clock().now()
    }

    /// Its connections.
    pub(super) fn pool(&self) -> &PgPool {
        self.database.events()
    }
}

async fn connect(primary: PgConnectOptions, connections: u32) -> Result<Database, NotConnected> {
    Database::connect(ConnectSettings {
        primary,
        replica: None,
        pool_size: CONNECTIONS,
        events_pool_size: connections,
        patience: PATIENCE,
        silence: SILENCE,
        clock: Clock::system(),
    })
    .await
}
