//! A transaction of a partition: whoever commits it was alone in the partition meanwhile.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};

use super::applier::{Applier, Halt, Lane};
use super::fate::Failure;
use crate::handler::reaction::Actions;
use crate::log::cursor::Cursor;
use crate::log::{self, Logged};
use crate::reactions::effects::run::run;

/// A transaction that moves a partition's cursor.
pub(super) struct Step {
    /// None once it has ended, and where an action written in Rust has kept it.
    transaction: Option<Transaction<'static, Postgres>>,
    cursor: Cursor,
}

/// An action written in Rust that is to run, for its event and its rule.
pub(super) struct Act<'a> {
    pub(super) rule: &'a str,
    pub(super) name: &'a str,
    pub(super) event: &'a Logged,
    /// The event's, in the newest version of its schema.
    pub(super) payload: &'a Value,
}

impl Step {
    /// Begins one. `new` are the events, in order, that the cursor moves past; none, where old events are applied again.
    ///
    /// # Errors
    /// [`Halt::Fenced`] where the partition is not as `lane` knows it, or those events are not in the log any more.
    pub(super) async fn begin(
        applier: &Applier,
        lane: &Lane,
        new: &[Logged],
        now: DateTime<Utc>,
    ) -> Result<Self, Halt> {
        applier.log.make_room(&applier.pool, now).await?;
        let mut transaction = applier.pool.begin().await?;
        let position = new.last().map_or(lane.cursor.position, |event| event.position);
        let cursor = lane
            .cursor
            .advance(&mut transaction, lane.partition, position, applier.worker);
        let cursor = cursor.await?.ok_or(Halt::Fenced)?;
        // It stands for all before it.
        if let Some(last) = new.last()
            && !log::holds(&mut *transaction, last).await?
        {
            return Err(Halt::Fenced);
        }
        Ok(Self {
            transaction: Some(transaction),
            cursor,
        })
    }

    /// The connection, for statements of this transaction.
    pub(super) fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        let transaction = self.transaction.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        Ok(transaction)
    }

    /// Runs actions, all or none: the transaction is lent to each of them, within one savepoint.
    pub(super) async fn run(&mut self, actions: &Actions, acts: &[Act<'_>]) -> sqlx::Result<Result<(), Failure>> {
        if acts.is_empty() {
            return Ok(Ok(()));
        }
        sqlx::query!("savepoint actions").execute(self.connection()?).await?;
        let mut done = Ok(());
        for act in acts {
            let lent = self.transaction.take().ok_or(sqlx::Error::WorkerCrashed)?;
            let (ran, given_back) = run(actions, act.name, act.event, act.payload.clone(), lent).await?;
            self.transaction = Some(given_back);
            if let Err(error) = ran {
                sqlx::query!("rollback to savepoint actions")
                    .execute(self.connection()?)
                    .await?;
                done = Err(Failure::Action {
                    rule: act.rule.to_owned(),
                    error,
                });
                break;
            }
        }
        sqlx::query!("release savepoint actions")
            .execute(self.connection()?)
            .await?;
        Ok(done)
    }

    /// Commits; `lane` knows it.
    pub(super) async fn commit(&mut self, lane: &mut Lane) -> sqlx::Result<()> {
        let transaction = self.transaction.take().ok_or(sqlx::Error::WorkerCrashed)?;
        transaction.commit().await?;
        lane.cursor = self.cursor;
        Ok(())
    }

    /// Takes everything back.
    pub(super) async fn rollback(&mut self) -> sqlx::Result<()> {
        match self.transaction.take() {
            Some(transaction) => transaction.rollback().await,
            None => Ok(()),
        }
    }
}
