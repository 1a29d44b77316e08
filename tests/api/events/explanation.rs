//! `rejoinder events explain`: what became of an event, whatever it was.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::command::run;
use super::shop::{self, SESSION, shipped};

/// Sends an event, and returns its id once all that is due is done.
async fn sent(bot: &TestBot, event_type: &str, entity: &str, payload: Value) -> String {
    let (_, answer) = bot.send(event_type, entity, payload).await;
    bot.events_applied().await;
    answer["event_id"].as_str().unwrap().to_owned()
}

async fn explained(bot: &TestBot, id: &str, told: &[&str]) {
    let ran = run(bot, &["events", "explain", id]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for told in told {
        assert!(ran.out.contains(told), "{told} is not in\n{}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_event_is_explained_by_its_rules_facts_and_messages() {
    let bot = shop::open().await;
    let id = sent(&bot, "order.shipped", "10042", shipped("1Z")).await;
    let told = [
        "order.shipped version 2",
        "source    generic",
        "state     applied",
        "order_shipped: matched; remember, remember, notify, goto",
        "entity 10042: tracking_number = \"1Z\"",
        "chat",
        SESSION,
        "sent",
    ];
    explained(&bot, &id, &told).await;
    let json = run(&bot, &["events", "explain", &id, "--json"]).await.out;
    let story: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(story[0]["state"], "applied");
    assert_eq!(story[0]["event"]["payload"], shipped("1Z"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_no_rule_hears_or_whose_condition_fails_says_so() {
    let bot = shop::open().await;
    let id = sent(&bot, "order.delivered", "10042", json!({})).await;
    explained(&bot, &id, &["applied; no rule listens to it"]).await;
    let id = sent(
        &bot,
        "payment.failed",
        "10042",
        json!({"reason": "no", "can_retry": false}),
    )
    .await;
    explained(&bot, &id, &["payment_failed: did nothing, its condition does not hold"]).await;
    let id = sent(&bot, "payment.failed", "10042", json!({"reason": "no"})).await;
    explained(&bot, &id, &["payment_failed: matched", "suppressed", "not opted in"]).await;
    let id = sent(&bot, "inventory.reserved", "10042", json!({})).await;
    explained(
        &bot,
        &id,
        &["order_confirmed: did nothing, it waits for payment.confirmed"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_event_then_dead_letter_is_explained_by_its_error() {
    let bot = shop::open().await;
    sent(&bot, "inventory.reserved", "nowhere", json!({})).await;
    let id = sent(&bot, "payment.confirmed", "nowhere", json!({"amount": 1})).await;
    let behind = sent(&bot, "order.delivered", "nowhere", json!({})).await;
    explained(
        &bot,
        &id,
        &[
            "state     parked",
            "tried 1 times: action confirm_order: there is no order nowhere",
        ],
    )
    .await;
    explained(
        &bot,
        &behind,
        &["state     parked", "waits behind another event of its entity"],
    )
    .await;
    for _ in 0..4 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
    explained(
        &bot,
        &id,
        &[
            "state     dead",
            "tried 5 times",
            "there is no order nowhere",
            "rejoinder dead",
        ],
    )
    .await;
    explained(&bot, &behind, &["applied; no rule listens to it"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_in_quarantine_is_explained_and_an_unknown_one_is_exit_code_1() {
    let bot = shop::open().await;
    let id = sent(&bot, "order.lost", "10042", json!({"where": "at sea"})).await;
    explained(&bot, &id, &["in quarantine", "/event_type", "at sea"]).await;
    let ran = run(&bot, &["events", "explain", "never sent"]).await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.out, "no event \"never sent\" is in the log or in quarantine\n");
}

#[tokio::test]
async fn event_that_is_not_applied_yet_waits() {
    let bot = shop::open_with(|settings| settings.events.events_work = false).await;
    let (_, answer) = bot.send("order.shipped", "10042", shipped("1Z")).await;
    explained(&bot, answer["event_id"].as_str().unwrap(), &["waits to be applied"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_is_found_in_a_full_quarantine() {
    let bot = shop::open().await;
    let id = sent(&bot, "order.lost", "10042", json!({"where": "at sea"})).await;
    sqlx::query(
        "insert into rejoinder.quarantined_events
             (id, source, event_id, event_type, envelope, violations, received_at, expires_at)
         select gen_random_uuid(), 'generic', 'later ' || n, 'x', '{}', '[]', now() + interval '1 minute', now()
         from generate_series(1, 10000) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    explained(&bot, &id, &["in quarantine", "at sea"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_of_long_values_is_short_and_still_compared() {
    let bot = shop::open().await;
    let long = "1Z".repeat(5_000);
    let id = sent(&bot, "order.shipped", "10042", shipped(&long)).await;
    assert_eq!(shop::status_of(&bot, "10042").await, format!("shipped {long}"));
    let kept: i32 = sqlx::query_scalar("select octet_length(outcome::text) from rejoinder.event_outcomes")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert!(kept < 4_000, "{kept} bytes");
    let json = run(&bot, &["events", "explain", &id, "--json"]).await.out;
    assert!(json.contains("\"bytes\":10002"), "{json}");
    let dry = [
        "events",
        "replay",
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
        "--dry-run",
    ];
    let ran = run(&bot, &dry).await;
    assert!(ran.out.contains("1 events would be applied again, 0 differ"), "{ran:?}");
}
