//! The database: pools, migrations, whether it answers, and what time it is there.

pub mod embedded;
mod listener;
mod pool;
mod silence;
pub(crate) mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tracing::{info, warn};

use self::silence::unless_silent;
pub use self::tables::BadTables;
use crate::clock::Clock;
use crate::fail::Fail;

/// How often the database is asked whether it answers, and how long it may take to.
const PULSE: Duration = Duration::from_secs(1);

/// After so many pulses in a row without an answer the database is down; one alone may be a busy machine. A refused
/// connection counts at once.
const SILENT_PULSES: u32 = 2;

/// How long a connection may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(1);

/// How long the database may say nothing in the middle of work, before its connection is given up: longer than the
/// statement that waits longest.
pub const SILENCE: Duration = Duration::from_secs(35);

/// From when on it is worth a warning that the machine's clock, or the database's, is not what it was.
const CLOCK_IS_WRONG: TimeDelta = TimeDelta::seconds(2);

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
    /// How long the database may say nothing in the middle of work on events; [`SILENCE`], but for tests.
    pub silence: Duration,
    /// The clock that is set by the database's.
    pub clock: Clock,
}

/// Why there is no database to work with.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// The primary does not take connections.
    #[error("it does not answer: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// A pooler stands before it, and drops what a connection is set to.
    #[error(
        "found a pooler that drops the settings of a connection, such as PgBouncer; expected PostgreSQL itself, or a proxy \
         that passes everything on"
    )]
    Pooler,
    /// Its tables are not fit for this program.
    #[error("its tables are not fit: {0}")]
    Tables(#[from] BadTables),
}

impl NotConnected {
    /// Whether it may pass by itself: the server is not there yet, or is starting up.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(sqlx::Error::Io(_)) => true,
            Self::Unreachable(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                // cannot_connect_now
                code.is_some_and(|code| code == "57P03")
            }
            Self::Pooler | Self::Tables(_) => false,
        }
    }
}

/// The primary, its replica, and whether the primary answers. Clones share all of it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    primary: PgPool,
    replica: Option<PgPool>,
    events: PgPool,
    conversations: PgPool,
    silence: Duration,
    clock: Clock,
    up: AtomicBool,
}

/// Data for a demonstration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoData {
    /// Loaded while this table is empty.
    pub(crate) table: &'static str,
    pub(crate) sql: &'static str,
}

impl Database {
    /// Connects to the primary, sets the clock by its own, and brings its tables up to date. The replica is connected to
    /// when it is first read.
    ///
    /// # Errors
    /// When the primary cannot be reached, is behind a pooler, or its tables are not fit.
    pub async fn connect(settings: ConnectSettings) -> Result<Self, NotConnected> {
        // One connection first: a wrong address is told at once, not after the pool's patience.
        let marked = settings.primary.clone().options([(MARK, "set")]);
        let (mut first, path) = tables::connect(marked).await.map_err(NotConnected::Unreachable)?;
        expect_no_pooler(&mut first).await?;
        let correction = ask_time(&mut first, &settings.clock)
            .await
            .map_err(NotConnected::Unreachable)?;
        if correction.abs() >= CLOCK_IS_WRONG {
            warn!(
                by_s = correction.num_seconds(),
                "the machine's clock is not the database's, which is gone by"
            );
        }
        tables::bring_up_to_date(&mut first).await?;
        first.close().await.map_err(NotConnected::Unreachable)?;
        let finding = |options: PgConnectOptions| match &path {
            Some(path) => options.options([("search_path", path)]),
            None => options,
        };
        let primary = finding(settings.primary);
        let turns = |options| pool::of_turns(options, settings.pool_size, settings.patience);
        Ok(Self(Arc::new(Inner {
            events: pool::of_events(primary.clone(), settings.events_pool_size),
            conversations: pool::of_conversations(primary.clone()),
            primary: turns(primary),
            replica: settings.replica.map(finding).map(turns),
            silence: settings.silence,
            clock: settings.clock,
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

    /// The pool of what is said in conversations: whoever locks a table of events does not keep it from being heard.
    pub(crate) fn conversations(&self) -> &PgPool {
        &self.0.conversations
    }

    /// The pools by name.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (&'static str, &PgPool)> {
        let replica = self.0.replica.as_ref().map(|replica| ("replica", replica));
        [
            ("turns", &self.0.primary),
            ("events", &self.0.events),
            ("conversations", &self.0.conversations),
        ]
        .into_iter()
        .chain(replica)
    }

    /// The clock that goes by the database's.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How long the database may say nothing in the middle of work on events.
    pub(crate) fn silence(&self) -> Duration {
        self.0.silence
    }

    /// What `work` in the database comes to, unless the database says nothing for too long. To be called in a task that
    /// does nothing else meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and that of a silent database; then what `work` has begun may still be done there.
    pub(crate) async fn within<T, E: From<sqlx::Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        unless_silent(self.0.silence, work).await
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

    /// Asks the primary each second what time it is, on a connection of its own, and so learns whether it answers; runs
    /// until dropped.
    pub async fn watch(self) {
        let options = self.0.primary.connect_options();
        let mut connection = None;
        let mut silent: u32 = 0;
        loop {
            let asked = tokio::time::timeout(PULSE, pulse(connection.take(), &options, &self.0.clock)).await;
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

    /// Brings the bot's tables up to date, where it has any.
    ///
    /// # Errors
    /// When a migration fails, or is not the one that was applied under its number.
    pub(crate) async fn bring_up_to_date(&self, migrations: Option<&Migrator>) -> Result<(), BadTables> {
        let Some(migrations) = migrations else { return Ok(()) };
        let unreadable = BadTables::Unreadable;
        let options = self.0.primary.connect_options().as_ref().clone();
        let (mut connection, _) = tables::connect(options).await.map_err(unreadable)?;
        tables::bring_bots_up_to_date(&mut connection, migrations).await?;
        connection.close().await.map_err(unreadable)
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
        self.0.conversations.close().await;
        if let Some(replica) = &self.0.replica {
            replica.close().await;
        }
    }
}

/// Whether the database refuses what it was given, and would again: a data exception, a broken constraint, or a limit.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

async fn pulse(
    connection: Option<PgConnection>,
    options: &PgConnectOptions,
    clock: &Clock,
) -> sqlx::Result<PgConnection> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => PgConnection::connect_with(options).await?,
    };
    let correction = ask_time(&mut connection, clock).await?;
    if correction.abs() >= CLOCK_IS_WRONG {
        warn!(
            by_s = correction.num_seconds(),
            "the database's clock has moved, and ours with it"
        );
    }
    Ok(connection)
}

/// Sets the clock by the database's; returns by how much it was wrong.
async fn ask_time(connection: &mut PgConnection, clock: &Clock) -> sqlx::Result<TimeDelta> {
    let asked = Instant::now();
    let said = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(connection)
        .await?;
    Ok(clock.set_by(asked, said))
}

/// A setting that nobody but us knows.
const MARK: &str = "rejoinder.mark";

/// Settings that are asked for when connecting, such as the time limit of statements, must be those of the session.
async fn expect_no_pooler(connection: &mut PgConnection) -> Result<(), NotConnected> {
    let mark: Option<String> = sqlx::query_scalar("select current_setting($1, true)")
        .bind(MARK)
        .fetch_one(connection)
        .await
        .map_err(NotConnected::Unreachable)?;
    match mark.as_deref() {
        Some("set") => Ok(()),
        Some(_) | None => Err(NotConnected::Pooler),
    }
}
