//! Quarantine: what no schema takes is kept for a while, and released once one does.

use serde_json::{Value, json};

use super::command::{run, run_in};
use super::directory::Directory;
use super::shop::{self, count, shipped};
use crate::support::eventually;

#[tokio::test]
async fn invalid_payload_is_422_with_every_violation_and_kept() {
    let bot = shop::open().await;
    let bad = json!({"amount": -1, "currency": "dollars"});
    let (status, answer) = bot.send("payment.confirmed", "10042", bad.clone()).await;
    assert_eq!((status, &answer["status"]), (422, &json!("quarantined")), "{answer}");
    let mut pointers: Vec<&str> = answer["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|violation| violation["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/payload/amount", "/payload/currency"], "{answer}");
    let kept: Value = sqlx::query_scalar("select envelope from rejoinder.quarantined_events")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert_eq!(kept["payload"], bad);
    assert_eq!(count(&bot, "rejoinder.event_log").await, 0);
}

#[tokio::test]
async fn unknown_type_and_unknown_version_are_422_at_their_fields() {
    let bot = shop::open().await;
    let (status, answer) = bot.send("order.lost", "10042", json!({})).await;
    assert_eq!(status, 422);
    assert_eq!(answer["violations"][0]["pointer"], "/event_type", "{answer}");
    let mut event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    event["schema_version"] = json!(99);
    let (status, answer) = bot.post_event("generic", &event).await;
    assert_eq!(status, 422);
    assert_eq!(answer["violations"][0]["pointer"], "/schema_version", "{answer}");
    assert_eq!(count(&bot, "rejoinder.quarantined_events").await, 2);
}

#[tokio::test]
async fn event_that_comes_again_is_kept_once() {
    let bot = shop::open().await;
    let event = bot.envelope("order.lost", "10042", &json!({}));
    for _ in 0..3 {
        assert_eq!(bot.post_event("generic", &event).await.0, 422);
    }
    assert_eq!(count(&bot, "rejoinder.quarantined_events").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_event_is_released_once_its_schema_exists() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let (_, answer) = bot.send("order.lost", "10042", json!({"where": "at sea"})).await;
    let id = answer["event_id"].as_str().unwrap();
    let listed = run(&bot, &["events", "quarantine"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(
        listed.out.contains(id) && listed.out.contains("order.lost"),
        "{}",
        listed.out
    );
    let refused = run_in(&bot, directory.path(), &["events", "release"]).await;
    assert_eq!(
        refused.out, "0 stored, 1 still refused by their schema\n",
        "{refused:?}"
    );
    directory.write(
        "schemas/order.lost/1.json",
        r#"{"type": "object", "required": ["where"], "properties": {"where": {"type": "string"}}}"#,
    );
    let released = run_in(&bot, directory.path(), &["events", "release", "--type", "order.lost"]).await;
    assert_eq!(
        released.out, "1 stored, 0 still refused by their schema\n",
        "{released:?}"
    );
    bot.events_applied().await;
    assert_eq!(
        count(&bot, "rejoinder.event_log where event_type = 'order.lost'").await,
        1
    );
    assert_eq!(
        run(&bot, &["events", "quarantine"]).await.out,
        "no event is in quarantine\n"
    );
    let audit: Value = serde_json::from_str(&run(&bot, &["audit", "--json"]).await.out).unwrap();
    assert_eq!(
        (&audit[0]["action"], &audit[0]["actor"]),
        (&json!("release"), &json!("ada"))
    );
    let json = run(&bot, &["events", "quarantine", "--json"]).await;
    assert_eq!(json.out.trim(), "[]");
}

#[tokio::test]
async fn quarantine_is_bounded_and_the_oldest_goes() {
    let bot = shop::open().await;
    sqlx::query(
        "insert into rejoinder.quarantined_events
             (id, source, event_id, event_type, envelope, violations, received_at, expires_at)
         select gen_random_uuid(), 'generic', 'old ' || n, 'x', '{}', '[]', now() - n * interval '1 minute', now()
         from generate_series(1, 10000) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    for _ in 0..3 {
        assert_eq!(bot.send("order.lost", "10042", json!({})).await.0, 422);
    }
    assert_eq!(count(&bot, "rejoinder.quarantined_events").await, 10_000);
    assert_eq!(
        count(&bot, "rejoinder.quarantined_events where event_type = 'order.lost'").await,
        3
    );
    assert_eq!(
        count(&bot, "rejoinder.quarantined_events where event_id = 'old 10000'").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_counts_what_it_has_stored() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let event = bot.envelope("order.lost", "10042", &json!({}));
    assert_eq!(bot.post_event("generic", &event).await.0, 422);
    directory.write("schemas/order.lost/1.json", r#"{"type": "object"}"#);
    eventually("the sender comes again, and the event is taken", async || {
        bot.post_event("generic", &event).await.0 == 202
    })
    .await;
    let released = run_in(&bot, directory.path(), &["events", "release"]).await;
    assert_eq!(
        released.out, "0 stored, 1 in the log already, 0 still refused by their schema\n",
        "{released:?}"
    );
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
    assert_eq!(count(&bot, "rejoinder.quarantined_events").await, 0);
}
