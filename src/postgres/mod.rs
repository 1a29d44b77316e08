//! The database: pools, migrations, and whether it answers.

pub mod embedded;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use tracing::{info, warn};

use crate::bot::DemoData;
use crate::fail::Fail;

/// The tables of the service and of the bot.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How often the database is asked whether it answers, and how long it may take to.
const PULSE: Duration = Duration::from_secs(1);

/// After so many pulses in a row without an answer the database is down; one alone may be a busy machine. A refused
/// connection counts at once.
const SILENT_PULSES: u32 = 2;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectSettings {
    /// The primary.
    pub primary: PgConnectOptions,
    /// A replica to read from.
    pub replica: Option<PgConnectOptions>,
    /// Connections of each pool.
    pub pool_size: u32,
    /// Connections that events have apart from those.
    pub events_pool_size: u32,
    /// How long one may wait for a connection, and how long a statement may run: the time limit of a handler.
    pub patience: Duration,
}

/// The primary, its replica, and whether the primary answers. Clones share all of it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    primary: PgPool,
    replica: Option<PgPool>,
    events: PgPool,
    up: AtomicBool,
}

impl Database {
    /// Connects to the primary and brings its tables up to date. The replica is connected to when it is first read.
    ///
    /// # Errors
    /// When the primary cannot be reached, or a migration fails.
    pub async fn connect(settings: ConnectSettings) -> anyhow::Result<Self> {
        let statement_timeout = settings.patience.as_millis().to_string();
        let tuned = |options: PgConnectOptions| {
            options
                .application_name("rejoinder")
                .options([("statement_timeout", statement_timeout.as_str())])
                .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1))
        };
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_size)
            .acquire_timeout(settings.patience)
            .test_before_acquire(false);
        // One connection first: a wrong address is told at once, not after the pool's patience.
        // It need not say each time that the table of migrations is there.
        let quiet = settings.primary.clone().options([("client_min_messages", "warning")]);
        let mut first = PgConnection::connect_with(&quiet)
            .await
            .context("cannot connect to the database")?;
        MIGRATIONS
            .run(&mut first)
            .await
            .context("cannot migrate the database")?;
        first.close().await.context("cannot close the connection")?;
        Ok(Self(Arc::new(Inner {
            events: events_pool(settings.events_pool_size).connect_lazy_with(events_options(settings.primary.clone())),
            primary: pool.clone().connect_lazy_with(tuned(settings.primary)),
            replica: settings.replica.map(|replica| pool.connect_lazy_with(tuned(replica))),
            up: AtomicBool::new(true),
        })))
    }

    /// The pool of the primary.
    pub fn primary(&self) -> &PgPool {
        &self.0.primary
    }

    /// The pool of the replica; of the primary where there is none.
    pub fn replica(&self) -> &PgPool {
        self.0.replica.as_ref().unwrap_or(&self.0.primary)
    }

    /// The pool of events: connections to the primary that turns do not use, and that do not use theirs.
    pub fn events(&self) -> &PgPool {
        &self.0.events
    }

    /// Whether the primary answered when it was last asked, at most a second or two ago.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    pub(crate) fn expect_up(&self) -> Result<(), Fail> {
        if self.is_up() {
            Ok(())
        } else {
            Err(Fail::Upstream(anyhow::anyhow!("the database does not answer")))
        }
    }

    /// Asks the primary each second whether it answers, on a connection of its own; runs until dropped.
    pub async fn watch(self) {
        let options = self.0.primary.connect_options();
        let mut connection = None;
        let mut silent: u32 = 0;
        loop {
            let asked = tokio::time::timeout(PULSE, pulse(connection.take(), &options)).await;
            (connection, silent) = match asked {
                Ok(Ok(answered)) => (Some(answered), 0),
                Ok(Err(_)) => (None, SILENT_PULSES),
                Err(_) => (None, silent.saturating_add(1)),
            };
            let up = silent < SILENT_PULSES;
            if self.0.up.swap(up, Ordering::Relaxed) != up {
                if up {
                    info!("the database answers again")
                } else {
                    warn!("the database does not answer")
                }
            }
            tokio::time::sleep(PULSE).await;
        }
    }

    /// Loads data for a demonstration, unless its table holds anything.
    pub(crate) async fn load(&self, data: DemoData) -> sqlx::Result<()> {
        let mut transaction = self.primary().begin().await?;
        // Of two replicas that start at once, one loads.
        sqlx::query("select pg_advisory_xact_lock(hashtext('rejoinder demo data'))")
            .execute(&mut *transaction)
            .await?;
        let has_rows = AssertSqlSafe(format!("select exists (select from {})", data.table));
        if !sqlx::query_scalar::<_, bool>(has_rows)
            .fetch_one(&mut *transaction)
            .await?
        {
            sqlx::raw_sql(data.sql).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Closes the pools, waiting for the connections in use.
    pub async fn close(&self) {
        self.0.primary.close().await;
        self.0.events.close().await;
        if let Some(replica) = &self.0.replica {
            replica.close().await;
        }
    }
}

/// How long a statement about events may run, and how long a transaction may do nothing: the database then ends what a
/// machine that is gone has left behind.
const EVENTS_STATEMENT_MS: &str = "30000";
const EVENTS_IDLE_MS: &str = "15000";

/// How long events wait for a connection.
const EVENTS_PATIENCE: Duration = Duration::from_secs(5);

fn events_pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(EVENTS_PATIENCE)
        .test_before_acquire(false)
}

fn events_options(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("rejoinder events")
        .options([
            ("statement_timeout", EVENTS_STATEMENT_MS),
            ("idle_in_transaction_session_timeout", EVENTS_IDLE_MS),
            // So that it notices in a minute.
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ])
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(5))
}

/// Whether the database refuses what it was given, and would again: a data exception, a broken constraint, or a limit.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

async fn pulse(connection: Option<PgConnection>, options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => PgConnection::connect_with(options).await?,
    };
    connection.ping().await?;
    Ok(connection)
}
