//! The database goes away and comes back; events do not take from turns what they need.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rejoinder::postgres::embedded::Embedded;
use serde_json::json;

use super::shop::{self, count, shipped, status_of};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_cannot_be_stored_is_503_with_retry_after_and_is_taken_once_it_can() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut postgres = Embedded::start(home.path(), None).unwrap();
    let options = postgres.options();
    let bot = shop::open_with(|settings| settings.database = Some(options)).await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("before")).await.0, 202);

    tokio::task::block_in_place(|| postgres.stop());
    let event = bot.envelope("order.shipped", "10042", &shipped("after"));
    let asked = Instant::now();
    let response = bot.signed("generic", event.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert!(asked.elapsed() < Duration::from_secs(4), "after {:?}", asked.elapsed());

    drop(postgres);
    let _postgres = Embedded::start(home.path(), None).unwrap();
    eventually("stored", async || {
        matches!(bot.post_event("generic", &event).await.0, 200 | 202)
    })
    .await;
    assert_eq!(count(&bot, "event_log").await, 2);
    eventually("applied", async || status_of(&bot, "10042").await == "shipped after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_answered_while_every_connection_for_events_waits() {
    let bot = shop::open().await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    let mut lock = bot.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('rejoinder event log'))")
        .execute(&mut *lock)
        .await
        .unwrap();
    let sends = (0..20).map(|n| bot.send("order.shipped", "10042", shipped(&n.to_string())));
    let turns = async {
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(status_of(&bot, "10042").await, "shipped 1Z");
            assert!(asked.elapsed() < Duration::from_secs(1), "after {:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(sends), turns);
    assert!(answers.iter().all(|(status, _)| *status == 503), "{answers:?}");
    assert_eq!(answers[0].1["error"]["code"], json!("not_stored"));
    lock.rollback().await.unwrap();
    eventually("taken again", async || {
        bot.send("order.shipped", "10042", shipped("2Z")).await.0 == 202
    })
    .await;
}
