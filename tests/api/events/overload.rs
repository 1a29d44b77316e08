//! Overload: when more waits than can be applied, sources of low priority are sent away first, those of high never.

use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::directory::Directory;
use super::shop::{self, shipped, shop};
use crate::support::{eventually, metrics};

fn three_sources() -> Directory {
    ["low", "normal", "high"]
        .iter()
        .fold(Directory::copied(), |directory, priority| {
            let source = format!(
                "format = 'envelope'\npriority = '{priority}'\n[secret]\nenv = 'NO_SUCH_SECRET'\ngenerated = true\n\
             [scheme]\nkind = 'standard-webhooks'\n"
            );
            directory.with(&format!("sources/{priority}.toml"), &source)
        })
}

/// Whether a source of each priority is taken from: low, normal, high. Asked with the same three events each time, so
/// that asking adds nothing to the backlog.
async fn admitted(bot: &TestBot) -> [bool; 3] {
    let mut admitted = [true; 3];
    for (admitted, source) in admitted.iter_mut().zip(["low", "normal", "high"]) {
        let mut event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
        event["event_id"] = json!(source);
        let response = bot.signed(source, event.to_string()).send().await.unwrap();
        match response.status().as_u16() {
            200 | 202 => {}
            429 => {
                *admitted = false;
                assert_eq!(response.headers()["retry-after"], "10");
                let answer: Value = response.json().await.unwrap();
                assert_eq!(answer["error"]["code"], "overloaded");
            }
            other => panic!("{source} is answered {other}"),
        }
    }
    admitted
}

async fn send_many(bot: &TestBot, events: usize) {
    let events: Vec<Value> = (0..events)
        .map(|n| bot.envelope("order.shipped", &n.to_string(), &shipped("1Z")))
        .collect();
    assert_eq!(bot.post_event("high", &json!(events)).await.0, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_priority_is_sent_away_first_then_normal_never_high_until_the_backlog_is_applied() {
    let directory = three_sources();
    let idle = shop::open_with(|settings| {
        directory.set(settings);
        settings.events.events_work = false;
        settings.events.events_backlog_limit = 200;
    })
    .await;
    assert_eq!(admitted(&idle).await, [true, true, true]);
    send_many(&idle, 60).await;
    eventually("low is sent away", async || {
        admitted(&idle).await == [false, true, true]
    })
    .await;
    send_many(&idle, 200).await;
    eventually("normal is sent away, too", async || {
        admitted(&idle).await == [false, false, true]
    })
    .await;

    let (database, now) = (idle.database(), idle.clock().now());
    let worker = TestBot::start_with(shop(), |settings| {
        directory.set(settings);
        settings.database = Some(database);
        settings.now = now;
    })
    .await;
    worker.events_applied().await;
    eventually("all are taken again", async || {
        admitted(&idle).await == [true, true, true]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_parked_count_as_waiting() {
    let directory = three_sources();
    let bot = shop::open_with(|settings| {
        directory.set(settings);
        settings.events.events_backlog_limit = 200;
    })
    .await;
    assert_eq!(admitted(&bot).await, [true, true, true]);
    sqlx::query(
        "insert into rejoinder.parked_events (partition, entity_id, position, received_at, attempts, retry_at)
         select 0, 'hot', n, now(), 0, 'infinity' from generate_series(1000, 1099) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    eventually("low is sent away", async || admitted(&bot).await == [false, true, true]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_counts_although_the_backlog_cannot_be_measured() {
    let directory = three_sources();
    let bot = shop::open_with(|settings| {
        directory.set(settings);
        settings.events.events_work = false;
        settings.events.events_backlog_limit = 200;
    })
    .await;
    assert_eq!(admitted(&bot).await, [true, true, true]);
    let mut lock = bot.pool().begin().await.unwrap();
    sqlx::query("lock table rejoinder.event_cursors")
        .execute(&mut *lock)
        .await
        .unwrap();
    send_many(&bot, 60).await;
    assert_eq!(admitted(&bot).await, [false, true, true]);
    send_many(&bot, 200).await;
    assert_eq!(admitted(&bot).await, [false, false, true]);
    let age = metrics(&bot).await;
    let age = age.lines().find_map(|line| {
        line.strip_prefix("rejoinder_events_backlog_age_seconds ")
            .map(str::to_owned)
    });
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0);
    lock.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_whose_first_events_lie_close_together_is_not_taken_for_a_larger_one() {
    let directory = three_sources();
    let idle = shop::open_with(|settings| {
        directory.set(settings);
        settings.events.events_work = false;
    })
    .await;
    let of_one = |events: usize| (0..events).map(|_| idle.envelope("order.shipped", "10042", &shipped("1Z")));
    let first: Vec<Value> = of_one(250).collect();
    assert_eq!(idle.post_event("high", &json!(first)).await.0, 202);
    send_many(&idle, 400).await;
    let last: Vec<Value> = of_one(1).collect();
    assert_eq!(idle.post_event("high", &json!(last)).await.0, 202);

    // One that has stored nothing itself, and knows only what it measures.
    let (database, now) = (idle.database(), idle.clock().now());
    let other = TestBot::start_with(shop(), |settings| {
        directory.set(settings);
        settings.database = Some(database);
        settings.now = now;
        settings.events.events_work = false;
    })
    .await;
    let backlog = async || {
        let metrics = metrics(&other).await;
        let mut lines = metrics.lines();
        let backlog = lines.find_map(|line| line.strip_prefix("rejoinder_events_backlog "));
        backlog.map_or(0, |backlog| backlog.parse().unwrap())
    };
    eventually("the backlog is measured", async || backlog().await > 0).await;
    assert_eq!(backlog().await, 651);
}
