//! The database of a turn: reads, and the transaction that makes a turn's writes happen once.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sqlx::{PgConnection, Postgres};

use super::{FromTurn, Pool, Read, Scope, Transaction};
use crate::fail::Fail;
use crate::idempotency::record;

/// The database: dereferences to the [`Pool`] of the primary.
///
/// While the database is known to be down the turn is answered at once with a spoken fallback; a handler that can do
/// without takes `Option<Db>`.
///
/// ```
/// use rejoinder::sqlx;
/// use rejoinder::{Db, Fail, Reply};
///
/// async fn orders(db: Db) -> Result<Reply, Fail> {
///     let orders: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&*db).await?;
///     Ok(Reply::text(format!("There are {orders}.")))
/// }
/// # rejoinder::Bot::new().intent("Orders", orders).check().unwrap();
/// ```
#[derive(Clone)]
pub struct Db {
    primary: Pool,
    replica: Pool,
}

impl Db {
    /// The pool to read from where being a little behind does no harm: the replica, if there is one.
    pub fn read(&self) -> &Pool {
        &self.replica
    }
}

impl Deref for Db {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.primary
    }
}

impl FromTurn for Db {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        scope.services.database.expect_up()?;
        let (primary, replica) = scope.pools();
        Ok(Self { primary, replica })
    }
}

/// A transaction that commits when the handler returns a reply, together with that reply; it is rolled back when the
/// handler fails. Dereferences to the connection: `query!(…).execute(&mut *tx)`.
///
/// A turn that comes again, at once or later, at this or another replica, does not run again: it gets the reply that
/// was committed.
///
/// ```
/// use rejoinder::sqlx;
/// use rejoinder::{Fail, Reply, Tx};
///
/// async fn book(mut tx: Tx) -> Result<Reply, Fail> {
///     sqlx::query("insert into bookings default values").execute(&mut *tx).await?;
///     Ok(Reply::text("It is booked."))
/// }
/// # rejoinder::Bot::new().intent("Book", book).check().unwrap();
/// ```
pub struct Tx {
    transaction: Option<Transaction>,
    home: TransactionSlot,
}

/// Where a [`Tx`] leaves its transaction when the handler is done with it.
#[derive(Clone, Default)]
pub(crate) struct TransactionSlot(Arc<Mutex<Option<Transaction>>>);

impl TransactionSlot {
    pub(crate) fn take(&self) -> Option<Transaction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, transaction: Option<Transaction>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = transaction;
    }
}

impl Tx {
    /// A transaction that is given back where the slot is, once its holder is done with it.
    pub(crate) fn around(transaction: sqlx::Transaction<'static, Postgres>) -> (Self, TransactionSlot) {
        let home = TransactionSlot::default();
        let tx = Self {
            transaction: Some(transaction.into()),
            home: home.clone(),
        };
        (tx, home)
    }
}

impl FromTurn for Tx {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        scope.services.database.expect_up()?;
        let mut transaction = scope.pools().0.begin().await?;
        match record::claim(
            &mut transaction,
            &scope.key,
            scope.turn.session.as_str(),
            scope.services.clock.now(),
        )
        .await?
        {
            record::Claim::Ours => Ok(Self {
                transaction: Some(transaction),
                home: scope.transaction.clone(),
            }),
            record::Claim::Answered(body) => Err(Fail::Answered(Bytes::from(body))),
        }
    }
}

#[expect(clippy::expect_used, reason = "the transaction leaves only when the Tx is dropped")]
impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.transaction.as_deref().expect("taken only on drop")
    }
}

#[expect(clippy::expect_used, reason = "the transaction leaves only when the Tx is dropped")]
impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.transaction.as_deref_mut().expect("taken only on drop")
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.home.put(self.transaction.take());
    }
}
