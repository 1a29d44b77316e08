//! The database's connections, as a turn has them.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, TryFutureExt as _};
use futures_util::stream::{BoxStream, StreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr};
use tokio::time::{Instant, sleep_until};

use super::gate::{Gate, Permit, Shed, Urgency};
use super::turn::Awaited;
use crate::postgres::Database;

/// The gates before the pools of the primary and of the replica. Clones share them.
#[derive(Clone)]
pub(crate) struct Gates {
    primary: Arc<Gate>,
    replica: Arc<Gate>,
}

/// A pool, as one turn has it: `query!(…).fetch_one(&*db)` as with sqlx's own.
///
/// While all connections are in use, turns that can still be answered in time get the next one first, the newest of them
/// before the others, and a turn whose user has heard the slow text waits until none of those does.
#[derive(Clone, Debug)]
pub struct Pool {
    pool: PgPool,
    gate: Arc<Gate>,
    awaited: Awaited,
    /// Whether the turn has had a connection by this pool.
    begun: Arc<AtomicBool>,
}

/// A connection of the pool. Dereferences to sqlx's: `query!(…).execute(&mut *connection)`.
#[derive(Debug)]
pub struct Connection {
    connection: PoolConnection<Postgres>,
    _permit: Permit,
}

/// A transaction on a connection of the pool; rolled back when it is dropped. Dereferences to its connection.
#[derive(Debug)]
pub struct Transaction {
    transaction: sqlx::Transaction<'static, Postgres>,
    _permit: Option<Permit>,
}

impl Gates {
    pub(crate) fn before(database: &Database) -> Self {
        let gate = |pool: &PgPool| Gate::new(pool.options().get_max_connections() as usize);
        let primary = gate(database.primary());
        // Where there is none, it is the primary itself.
        let replica = match std::ptr::eq(database.primary(), database.replica()) {
            true => Arc::clone(&primary),
            false => gate(database.replica()),
        };
        Self { primary, replica }
    }

    /// Sends away a late turn that waits for a connection, so that a new one has its place; false when there is none.
    pub(crate) fn shed(&self) -> bool {
        self.primary.shed() || self.replica.shed()
    }

    /// The gates by name; one where there is no replica.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &Gate)> {
        let replica = Some(&self.replica).filter(|replica| !Arc::ptr_eq(replica, &self.primary));
        let replica = replica.map(|replica| ("replica", replica.as_ref()));
        std::iter::once(("turns", self.primary.as_ref())).chain(replica)
    }

    /// The pools of the primary and of the replica, for a turn that is awaited as `awaited` says.
    pub(super) fn pools(&self, database: &Database, awaited: &Awaited) -> (Pool, Pool) {
        let begun = Arc::default();
        let pool = |pool: &PgPool, gate| Pool {
            pool: pool.clone(),
            gate: Arc::clone(gate),
            awaited: awaited.clone(),
            begun: Arc::clone(&begun),
        };
        (
            pool(database.primary(), &self.primary),
            pool(database.replica(), &self.replica),
        )
    }
}

impl Pool {
    /// A connection to do several things with.
    ///
    /// # Errors
    /// When there is none within the handler's limit, or the turn's place is needed for one that can be in time.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        let permit = self.permit().await?;
        Ok(Connection {
            connection: self.pool.acquire().await?,
            _permit: permit,
        })
    }

    /// A transaction. Where it is to happen once however often the turn comes, take a [`Tx`](super::Tx).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), or when the database does not begin it.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        let permit = self.permit().await?;
        Ok(Transaction {
            transaction: self.pool.begin().await?,
            _permit: Some(permit),
        })
    }

    async fn permit(&self) -> sqlx::Result<Permit> {
        loop {
            let mut changes = self.awaited.changes();
            let until = self.awaited.until();
            let urgency = if until <= Instant::now() {
                Urgency::Late
            } else if self.begun.load(Ordering::Relaxed) {
                Urgency::Begun
            } else {
                Urgency::InTime
            };
            let mut waiting = match self.gate.enter(urgency) {
                Ok(permit) => {
                    self.begun.store(true, Ordering::Relaxed);
                    return Ok(permit);
                }
                Err(waiting) => waiting,
            };
            tokio::select! {
                granted = waiting.granted() => {
                    self.begun.store(true, Ordering::Relaxed);
                    return granted.map_err(|Shed| sqlx::Error::PoolTimedOut);
                }
                // Somebody else has asked the same: it is awaited once more.
                _ = changes.changed() => {}
                () = sleep_until(until), if urgency != Urgency::Late => {}
            }
        }
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let rows = async move {
            let permit = self.permit().await?;
            Ok(self.pool.fetch_many(query).map(move |row| {
                // Held until the last row.
                let _held = &permit;
                row
            }))
        };
        rows.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let _permit = self.permit().await?;
            self.pool.fetch_optional(query).await
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        Box::pin(async move {
            let _permit = self.permit().await?;
            self.pool.prepare_with(sql, parameters).await
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        Box::pin(async move {
            let _permit = self.permit().await?;
            self.pool.describe(sql).await
        })
    }
}

impl Transaction {
    /// Commits it.
    ///
    /// # Errors
    /// When the database does not say that it is committed.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.transaction.commit().await
    }

    /// Rolls it back.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.transaction.rollback().await
    }

    /// sqlx's own, where no turn has it.
    pub(crate) fn into_inner(self) -> sqlx::Transaction<'static, Postgres> {
        self.transaction
    }
}

/// One that no turn has waited for.
impl From<sqlx::Transaction<'static, Postgres>> for Transaction {
    fn from(transaction: sqlx::Transaction<'static, Postgres>) -> Self {
        Self {
            transaction,
            _permit: None,
        }
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}
