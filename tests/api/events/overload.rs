//! Overload: when more waits than can be applied, sources of low priority are sent away first, those of high never.

use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::directory::Directory;
use super::shop::{self, shipped, shop};
use crate::support::eventually;

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

/// The statuses of an event of each priority: low, normal, high.
async fn taken(bot: &TestBot) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (status, source) in statuses.iter_mut().zip(["low", "normal", "high"]) {
        let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
        let response = bot.signed(source, event.to_string()).send().await.unwrap();
        *status = response.status().as_u16();
        if *status == 429 {
            assert_eq!(response.headers()["retry-after"], "10");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["error"]["code"], "overloaded");
        }
    }
    statuses
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
    assert_eq!(taken(&idle).await, [202, 202, 202]);
    send_many(&idle, 60).await;
    eventually("low is sent away", async || taken(&idle).await == [429, 202, 202]).await;
    send_many(&idle, 200).await;
    eventually("normal is sent away, too", async || {
        taken(&idle).await == [429, 429, 202]
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
    eventually("all are taken again", async || taken(&idle).await == [202, 202, 202]).await;
}
