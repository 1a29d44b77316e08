//! Batches: an array, one a line, or of CloudEvents; each event is told of by itself.

use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::directory::Directory;
use super::shop::{self, count, shipped, status_of};

fn statuses(answer: &Value) -> Vec<&str> {
    let items = answer["events"].as_array().unwrap();
    items.iter().map(|item| item["status"].as_str().unwrap()).collect()
}

async fn numbers_in_the_log(bot: &TestBot) -> Vec<String> {
    sqlx::query_scalar("select payload ->> 'tracking_number' from rejoinder.event_log order by position")
        .fetch_all(bot.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn array_is_stored_in_its_order() {
    let bot = shop::open().await;
    let events: Vec<Value> = (0..50)
        .map(|n| bot.envelope("order.shipped", "10042", &shipped(&n.to_string())))
        .collect();
    let (status, answer) = bot.post_event("generic", &json!(events)).await;
    assert_eq!(status, 202);
    assert_eq!(statuses(&answer), ["stored"; 50]);
    let ids: Vec<&Value> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["event_id"])
        .collect();
    assert_eq!(ids, events.iter().map(|event| &event["event_id"]).collect::<Vec<_>>());
    let wanted: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(numbers_in_the_log(&bot).await, wanted);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped 49");
}

#[tokio::test]
async fn lines_are_stored_in_their_order() {
    let bot = shop::open().await;
    let lines: Vec<String> = (0..3)
        .map(|n| {
            bot.envelope("order.shipped", "10042", &shipped(&n.to_string()))
                .to_string()
        })
        .collect();
    // The second `content-type` would be added, not put in the place of the first.
    let mut request = bot.signed("generic", lines.join("\n\n")).build().unwrap();
    let ndjson = "application/x-ndjson; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", ndjson);
    let response = bot.http().execute(request).await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(statuses(&response.json().await.unwrap()), ["stored"; 3]);
    assert_eq!(numbers_in_the_log(&bot).await, ["0", "1", "2"]);
}

#[tokio::test]
async fn batch_of_cloudevents_is_stored_in_its_order() {
    let directory = Directory::copied().with(
        "sources/cloud.toml",
        "format = 'cloudevents'\n[secret]\nenv = 'NO_SUCH_TOKEN'\ngenerated = true\n[scheme]\nkind = 'bearer'\n",
    );
    directory.secrets("cloud", &["a-token-that-is-long-enough-to-be-one"]);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let event = |n: u32| {
        json!({"specversion": "1.0", "id": n.to_string(), "source": "/shop", "type": "order.shipped", "subject": "10042",
            "time": "2026-09-21T12:00:00Z", "datacontenttype": "application/json",
            "dataschema": "/events/catalogue/order.shipped/2", "data": {"tracking_number": n.to_string()}})
    };
    let post = |token: &'static str| {
        bot.http()
            .post(bot.url("/events/cloud"))
            .header("content-type", "application/cloudevents-batch+json")
            .bearer_auth(token)
            .body(json!([event(1), event(2)]).to_string())
            .send()
    };
    assert_eq!(post("another-token").await.unwrap().status(), 401);
    let response = post("a-token-that-is-long-enough-to-be-one").await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, 202, "{answer}");
    assert_eq!(statuses(&answer), ["stored"; 2]);
    assert_eq!(numbers_in_the_log(&bot).await, ["1", "2"]);
}

#[tokio::test]
async fn partial_failure_is_told_event_by_event() {
    let bot = shop::open().await;
    let mut bad_time = bot.envelope("order.shipped", "10042", &shipped("x"));
    bad_time["timestamp"] = json!("yesterday");
    let events = json!([
        bot.envelope("order.shipped", "10042", &shipped("good")),
        bot.envelope("order.shipped", "10042", &json!({"tracking_number": 7})),
        bad_time,
        bot.envelope("never.heard_of", "10042", &json!({})),
        bot.envelope("order.shipped", "10042", &shipped("also good")),
        "no object",
    ]);
    let (status, answer) = bot.post_event("generic", &events).await;
    assert_eq!(status, 207, "{answer}");
    let wanted = ["stored", "quarantined", "invalid", "quarantined", "stored", "invalid"];
    assert_eq!(statuses(&answer), wanted);
    assert_eq!(
        answer["events"][1]["violations"][0]["pointer"], "/payload/tracking_number",
        "{answer}"
    );
    assert_eq!(
        answer["events"][2]["violations"][0]["pointer"], "/timestamp",
        "{answer}"
    );
    assert_eq!(numbers_in_the_log(&bot).await, ["good", "also good"]);
    assert_eq!(count(&bot, "rejoinder.quarantined_events").await, 2);
}

#[tokio::test]
async fn batch_with_nothing_good_is_422_and_an_empty_one_stores_nothing() {
    let bot = shop::open().await;
    let bad = || bot.envelope("never.heard_of", "10042", &json!({}));
    let (status, answer) = bot.post_event("generic", &json!([bad(), bad()])).await;
    assert_eq!(status, 422);
    assert_eq!(statuses(&answer), ["quarantined"; 2]);
    let (status, answer) = bot.post_event("generic", &json!([])).await;
    assert_eq!((status, answer), (200, json!({"events": []})));
    assert_eq!(count(&bot, "rejoinder.event_log").await, 0);
}

#[tokio::test]
async fn batch_beyond_the_sources_limit_is_413() {
    let directory = Directory::copied();
    directory.write(
        "sources/small.toml",
        "format = 'envelope'\n[secret]\nenv = 'NO_SUCH_SECRET'\ngenerated = true\n[scheme]\nkind = 'standard-webhooks'\n\
         [limits]\nbatch_items = 2\n",
    );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let event = || bot.envelope("order.shipped", "10042", &shipped("1"));
    assert_eq!(bot.post_event("small", &json!([event(), event()])).await.0, 202);
    let (status, answer) = bot.post_event("small", &json!([event(), event(), event()])).await;
    assert_eq!(status, 413);
    assert_eq!(answer["error"]["message"], "found 3 events, expected at most 2");
    assert_eq!(count(&bot, "rejoinder.event_log").await, 2);
}
