//! A transaction that somebody holds open slows nothing: no row is changed for each event, so nothing piles up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::claims;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};

const ENTITIES: u64 = 20;
const STEPS: u64 = 25;

/// Tables through which every event goes, and their segments.
const ON_THE_WAY: &str = "pg_stat_user_tables
    where (relname ~ '^event_(log|outcomes)_[0-9]+$' or relname in ('event_cursors', 'event_leases'))";

#[tokio::test]
async fn events_are_applied_while_a_transaction_is_held_open() {
    let site = Site::start().await;
    let senders = Arc::new(Senders::new());
    let service = site.serve().started().await;
    senders.aim(service.url());
    let entities: Vec<String> = (0..ENTITIES).map(|entity| format!("entity {entity}")).collect();
    site.follow(&entities).await;

    let mut held_open = site.pool.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read")
        .execute(&mut *held_open)
        .await
        .unwrap();
    let seen: (String, i64) =
        sqlx::query_as("select pg_current_xact_id()::text, (select count(*) from rejoinder.event_log)")
            .fetch_one(&mut *held_open)
            .await
            .unwrap();
    assert_eq!(seen.1, 0);

    for n in 1..=STEPS {
        let steps = entities.iter().map(|entity| {
            let senders = Arc::clone(&senders);
            async move { senders.deliver(&Sent::step(entity, n)).await }
        });
        futures_util::future::join_all(steps).await;
    }
    let sent = Instant::now();
    claims::hold(&site, &senders).await;
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
    let still: i64 = sqlx::query_scalar("select count(*) from rejoinder.event_log")
        .fetch_one(&mut *held_open)
        .await
        .unwrap();
    assert_eq!(still, 0, "its snapshot is as old as before");

    // Each step emits an event.
    let events = i64::try_from(2 * ENTITIES * STEPS).unwrap();
    eventually("the statistics are in", async || {
        site.number(&format!(
            "select sum(n_tup_ins) from {ON_THE_WAY} and relname like 'event_log%'"
        ))
        .await
            >= events
    })
    .await;
    let changed = site
        .number(&format!("select sum(n_tup_upd + n_tup_del) from {ON_THE_WAY}"))
        .await;
    assert!(changed <= 32, "{changed} rows were changed for {events} events");
}
