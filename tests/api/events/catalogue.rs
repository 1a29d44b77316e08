//! The catalogue that senders read, and old versions of a type.

use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::shop::{self, shipped, status_of};

async fn catalogue(bot: &TestBot, etag: Option<&str>) -> reqwest::Response {
    let mut request = bot.http().get(bot.url("/events/catalogue"));
    if let Some(etag) = etag {
        request = request.header("if-none-match", etag);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn catalogue_has_types_versions_and_schemas_and_an_etag() {
    let bot = shop::open().await;
    let response = catalogue(&bot, None).await;
    assert_eq!(response.status(), 200);
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let published: Value = response.json().await.unwrap();
    let text = published.to_string();
    for told in ["order.shipped", "payment.confirmed", "tracking_number", "stripe.*"] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    let again = catalogue(&bot, Some(&etag)).await;
    assert_eq!(again.status(), 304);
    assert_eq!(again.text().await.unwrap(), "");
    assert_eq!(catalogue(&bot, Some("\"another\"")).await.status(), 200);
}

#[tokio::test]
async fn event_of_version_1_reaches_a_rule_that_is_written_for_version_2() {
    let bot = shop::open().await;
    let mut event = bot.envelope("order.shipped", "10042", &json!({"tracking": "old 1Z"}));
    assert_eq!(event["schema_version"], 2);
    assert_eq!(bot.post_event("generic", &event).await.0, 422, "it is no version 2");
    event["schema_version"] = json!(1);
    event["event_id"] = json!("of version 1");
    assert_eq!(bot.post_event("generic", &event).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped old 1Z");
    let stored: Value = sqlx::query_scalar("select payload from rejoinder.event_log")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert_eq!(stored, json!({"tracking": "old 1Z"}), "the log keeps what was sent");
    assert_eq!(bot.send("order.shipped", "10042", shipped("new")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped new");
}
