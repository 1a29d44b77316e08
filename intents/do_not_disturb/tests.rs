//! What recorded turns cannot show of quiet hours: what is held in them, and when it is sent.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tempfile::TempDir;

use crate::tests::{ask, start, start_with, text};

/// What the source `generic` goes by.
const SECRET: &str = "whsec_bm8gc2VjcmV0IGF0IGFsbCwgb25seSBmb3IgdGVzdHM=";

/// The shop's system tells that an order has shipped.
async fn ship(bot: &TestBot, order: &str) {
    let now = bot.clock().now();
    let id = format!("shipped-{order}");
    let body = json!({
        "event_id": id, "event_type": "order.shipped", "timestamp": now, "entity_id": order, "schema_version": 2,
        "payload": {"tracking_number": "1Z"},
    })
    .to_string();
    let signature = Webhook::new(SECRET)
        .unwrap()
        .sign(&id, now.timestamp(), body.as_bytes());
    let request = bot
        .http()
        .post(bot.url("/events/generic"))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now.timestamp())
        .header("webhook-signature", signature.unwrap());
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
}

/// Waits until the outbox says this of the order.
async fn outbox_says(bot: &TestBot, order: &str, expected: (&str, Option<&str>)) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let row: Option<(String, Option<String>)> =
            sqlx::query_as("select state, reason from rejoinder.outbox where body->>'entity_id' = $1")
                .bind(order)
                .fetch_optional(bot.pool())
                .await
                .unwrap();
        let found = row.as_ref().map(|(state, reason)| (state.as_str(), reason.as_deref()));
        if found == Some(expected) {
            return;
        }
        assert!(
            Instant::now() < patience,
            "order {order}: {found:?}, expected {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A bot at 14:13 UTC whose user follows orders and wants to hear of them, and the directory it needs.
async fn start_with_follower() -> (TestBot, TempDir) {
    let secrets = TempDir::new().unwrap();
    std::fs::create_dir(secrets.path().join("secrets")).unwrap();
    std::fs::write(secrets.path().join("secrets/generic"), SECRET).unwrap();
    let bot = start_with(|_| {}, |settings| settings.data_dir = secrets.path().to_owned()).await;
    text(&bot.turn(&ask("Notifications - on", json!({}))).await);
    for order in ["10046", "10047"] {
        sqlx::query(
            "insert into rejoinder.follows (entity_id, user_id, followed_at) values ($1, 'projects/p/agent/sessions/s', now())",
        )
        .bind(order)
        .execute(bot.pool())
        .await
        .unwrap();
    }
    (bot, secrets)
}

fn quiet(from: &str, until: &str, zone: &str) -> Value {
    ask("Quiet Hours", json!({"from": from, "until": until, "time_zone": zone}))
}

#[tokio::test]
async fn news_in_quiet_hours_is_sent_when_they_end() {
    let (bot, _secrets) = start_with_follower().await;
    let said = text(&bot.turn(&quiet("16:00", "17:00", "Europe/Berlin")).await);
    assert_eq!(
        said,
        "All right, I keep quiet from 16:00 to 17:00 (Europe/Berlin). You hear afterwards what came in."
    );
    ship(&bot, "10046").await;
    outbox_says(&bot, "10046", ("held", Some("quiet hours"))).await;
    bot.clock().advance(TimeDelta::minutes(45));
    let due: i64 = sqlx::query_scalar("select count(*) from rejoinder.outbox where due_at <= $1")
        .bind(bot.clock().now())
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert_eq!(due, 0);
    bot.clock().advance(TimeDelta::minutes(2));
    outbox_says(&bot, "10046", ("sent", Some("quiet hours"))).await;
    ship(&bot, "10047").await;
    outbox_says(&bot, "10047", ("sent", None)).await;
}

#[tokio::test]
async fn news_that_is_held_is_sent_when_the_user_wants_no_quiet_hours_any_more() {
    let (bot, _secrets) = start_with_follower().await;
    text(&bot.turn(&quiet("12:00", "18:00", "UTC")).await);
    ship(&bot, "10046").await;
    outbox_says(&bot, "10046", ("held", Some("quiet hours"))).await;
    text(&bot.turn(&ask("Quiet Hours", json!({"cancel": "off"}))).await);
    outbox_says(&bot, "10046", ("sent", Some("quiet hours"))).await;
}

#[tokio::test]
async fn time_with_an_offset_is_utc_until_the_zone_is_known() {
    let bot = start(|_| {}).await;
    let (from, until) = ("2026-01-07T22:00:00+01:00", "2026-01-08T07:00:00+01:00");
    let said = async |zone: &str| text(&bot.turn(&quiet(from, until, zone)).await);
    assert!(said("").await.contains("from 21:00 to 06:00 (UTC)"));
    assert!(
        said("America/New_York")
            .await
            .contains("from 22:00 to 07:00 (America/New_York)")
    );
    assert!(said("").await.contains("from 22:00 to 07:00 (America/New_York)"));
    assert!(said("Middle Earth").await.starts_with("I do not know that time zone."));
}
