//! What a service costs its database while nothing happens.

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Clock};

use crate::site::{Site, eventually};

/// Seconds that are looked at.
const SECONDS: i64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_service_asks_and_writes_little() {
    let site = Site::start().await;
    // In a database apart from the one that is asked here.
    site.run("create database idle").await;
    let bot = TestBot::start_with(Bot::new(), |settings| {
        settings.database = Some(site.database.options().database("idle"));
        settings.events.events_dir = site.events_dir();
        settings.data_dir = site.data_dir();
        settings.clock = Some(Clock::system());
    })
    .await;
    let now = "select extract(epoch from clock_timestamp())";
    let wal = "select pg_current_wal_insert_lsn() - '0/0'";
    let done = "select xact_commit + xact_rollback from pg_stat_database where datname = 'idle'";
    let pass = async |seconds| {
        let began = site.number(now).await;
        eventually("some seconds have gone by", async || {
            site.number(now).await >= began + seconds
        })
        .await;
    };
    // What its start has brought about is over.
    pass(5).await;
    let done_before = site.number(done).await;
    pass(SECONDS).await;
    let transactions = (site.number(done).await - done_before) as f64 / SECONDS as f64;
    println!("{transactions} transactions a second");
    assert!(
        (1.0..=7.0).contains(&transactions),
        "{transactions} transactions a second"
    );
    // The database writes now and then for its own sake.
    eventually("little is written for some seconds", async || {
        let before = site.number(wal).await;
        pass(3).await;
        let written = (site.number(wal).await - before) / 3;
        println!("{written} bytes of write-ahead log a second");
        written <= 400
    })
    .await;
    bot.stop().await;
}
