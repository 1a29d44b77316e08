//! What the service's own pool can do on the demo's query when there is nothing else to do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use rejoinder::Clock;
use rejoinder::postgres::{ConnectSettings, Database, SILENCE};
use rust_decimal::Decimal;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::shared::slice::Slice;

#[derive(clap::Args)]
pub(crate) struct Pool {
    url: String,
    seconds: f64,
    /// Connections of the pool.
    #[arg(long, default_value = "10")]
    size: u32,
}

impl Pool {
    /// Asks for as long as told, and prints the slice.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let slice = runtime.block_on(self.ask())?;
        println!("{}", slice.to_json());
        Ok(())
    }

    async fn ask(self) -> anyhow::Result<Slice> {
        let database = Database::connect(ConnectSettings {
            primary: self.url.parse().context("not a database's URL")?,
            replica: None,
            pool_size: self.size,
            events_pool_size: 2,
            patience: Duration::from_secs(60),
            silence: SILENCE,
            clock: Clock::system(),
        })
        .await?;
        // All connections open and their statement prepared.
        self.round(database.primary(), Duration::from_millis(300)).await?;
        let started = Instant::now();
        let turns = self
            .round(database.primary(), Duration::from_secs_f64(self.seconds))
            .await?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Slice {
            turns,
            seconds,
            ..Slice::default()
        })
    }

    async fn round(&self, pool: &PgPool, time: Duration) -> anyhow::Result<u64> {
        let until = Instant::now() + time;
        let mut askers = JoinSet::new();
        // One a connection: more would only wait for each other.
        for _ in 0..self.size {
            let pool = pool.clone();
            askers.spawn(async move {
                let mut asked = 0;
                while Instant::now() < until {
                    let row = balance(&pool).await?;
                    ensure!(row.is_some(), "the demo data has no checking account 12345");
                    asked += 1;
                }
                Ok(asked)
            });
        }
        askers.join_all().await.into_iter().sum()
    }
}

/// The statement of `Get Account Balance`.
async fn balance(pool: &PgPool) -> sqlx::Result<Option<(Decimal, DateTime<Utc>)>> {
    sqlx::query_as("select balance, updated_at from accounts where customer_id = $1 and kind = $2")
        .bind("12345")
        .bind("checking")
        .fetch_optional(pool)
        .await
}
