//! `rejoinder events list`: what is parked, waits, is dead or kept apart, and what was not sent.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::command::run;
use super::shop::{self, shipped};

async fn sent(bot: &TestBot, event_type: &str, entity: &str, payload: Value) -> String {
    let (_, answer) = bot.send(event_type, entity, payload).await;
    bot.events_applied().await;
    answer["event_id"].as_str().unwrap().to_owned()
}

/// The lines that the command prints, each as its fields.
async fn listed(bot: &TestBot, further: &[&str]) -> Vec<Vec<String>> {
    let ran = run(bot, &[&["events", "list"], further].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let fields = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    ran.out.lines().map(fields).collect()
}

/// The ids of the events that the command prints.
async fn ids(bot: &TestBot, further: &[&str]) -> Vec<String> {
    listed(bot, further)
        .await
        .into_iter()
        .map(|mut fields| fields.remove(0))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_and_why_is_listed_and_then_that_it_is_dead() {
    let bot = shop::open().await;
    let joined = sent(&bot, "inventory.reserved", "nowhere", json!({})).await;
    let failing = sent(&bot, "payment.confirmed", "nowhere", json!({"amount": 1})).await;
    let behind = sent(&bot, "order.delivered", "nowhere", json!({})).await;
    let parked = listed(&bot, &["--state", "parked"]).await;
    let [first, second] = parked.as_slice() else {
        panic!("{parked:?}")
    };
    assert_eq!(
        first[..4],
        [failing.as_str(), "payment.confirmed", "nowhere", "generic"]
    );
    assert_eq!(first[5], "parked");
    let told = "tried 1 times, next at ";
    assert!(
        first[6].starts_with(told) && first[6].ends_with("there is no order nowhere"),
        "{first:?}"
    );
    assert_eq!(
        (&second[0], second[6].as_str()),
        (&behind, "waits behind another event of its entity")
    );
    for _ in 0..4 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
    assert_eq!(ids(&bot, &["--state", "parked"]).await, [""; 0]);
    let dead = listed(&bot, &["--state", "dead"]).await;
    assert_eq!(dead[0][0], failing);
    assert!(
        dead[0][6].starts_with("tried 5 times: action confirm_order"),
        "{dead:?}"
    );
    // All of the entity, the newest first.
    assert_eq!(ids(&bot, &["--entity", "nowhere"]).await, [behind, failing, joined]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_sent_and_why_is_listed_and_explained() {
    let bot = shop::open().await;
    let nobody = sent(&bot, "order.shipped", "10047", shipped("1Z")).await;
    let suppressed = sent(&bot, "payment.failed", "10042", json!({"reason": "no"})).await;
    let told = sent(&bot, "order.shipped", "10042", shipped("1Z")).await;
    let lost = sent(&bot, "order.lost", "10042", json!({"where": "at sea"})).await;
    let all = listed(&bot, &[]).await;
    let details = |id: &str| all.iter().find(|fields| fields[0] == id).unwrap()[6].clone();
    assert_eq!(all.len(), 4);
    assert!(
        details(&nobody).contains("rule order_shipped: notify orders reached nobody: nobody follows 10047"),
        "{all:?}"
    );
    assert!(details(&suppressed).contains("suppressed (not opted in)"), "{all:?}");
    assert_eq!(details(&told), "");
    assert!(details(&lost).starts_with("/event_type: "), "{all:?}");
    for (id, text) in [
        (&nobody, "notify orders reached nobody: nobody follows 10047"),
        (&suppressed, "notify payments: 2 suppressed (not opted in)"),
        (&told, "notify orders: 2 pending"),
    ] {
        let explained = run(&bot, &["events", "explain", id]).await.out;
        assert!(explained.contains(text), "{explained}");
    }
    sqlx::query(
        "insert into rejoinder.preferences (user_id, quiet_from, quiet_until)
         select user_id, ($1::timestamp - interval '1 hour')::time, ($1::timestamp + interval '1 hour')::time from rejoinder.conversations
         where session = $2",
    )
    .bind(bot.clock().now().naive_utc())
    .bind(shop::SESSION)
    .execute(bot.pool())
    .await
    .unwrap();
    let quiet = sent(&bot, "order.shipped", "10042", shipped("2Z")).await;
    let listed = listed(&bot, &["--entity", "10042", "--type", "order.shipped", "--limit", "1"]).await;
    assert_eq!(listed[0][0], quiet);
    assert!(listed[0][6].contains("held (quiet hours)"), "{listed:?}");
    let explained = run(&bot, &["events", "explain", &quiet]).await.out;
    assert!(explained.contains("notify orders: 2 held (quiet hours)"), "{explained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_is_filtered_and_is_json_on_demand() {
    let bot = shop::open_with(|settings| settings.events.events_work = false).await;
    for (event_type, entity) in [
        ("order.shipped", "10042"),
        ("order.delivered", "10042"),
        ("order.delivered", "10043"),
    ] {
        let payload = if event_type == "order.shipped" {
            shipped("1Z")
        } else {
            json!({})
        };
        assert_eq!(bot.send(event_type, entity, payload).await.0, 202);
    }
    assert_eq!(bot.send("order.lost", "10042", json!({})).await.0, 422);
    let count = async |further: &[&str]| ids(&bot, further).await.len();
    assert_eq!(count(&[]).await, 4);
    assert_eq!(count(&["--state", "waiting"]).await, 3);
    assert_eq!(count(&["--state", "applied"]).await, 0);
    assert_eq!(count(&["--state", "quarantined"]).await, 1);
    assert_eq!(count(&["--entity", "10042"]).await, 3);
    assert_eq!(count(&["--type", "order.delivered"]).await, 2);
    assert_eq!(count(&["--type", "order.delivered", "--entity", "10043"]).await, 1);
    assert_eq!(count(&["--limit", "2"]).await, 2);
    assert_eq!(count(&["--since", "2100-01-01"]).await, 0);
    assert_eq!(count(&["--since", "2020-01-01"]).await, 4);
    let json = run(&bot, &["events", "list", "--state", "waiting", "--json"]).await.out;
    let events: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(events[0]["entity_id"], "10043");
    assert_eq!(events[0]["state"], "waiting");
}
