//! Whatever is posted: no answer is the service's fault, and what is answered as taken is in the log.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rejoinder::testing::TestBot;
use rstest::rstest;
use serde_json::{Value, json};

use super::shop::{self, count, shipped};

async fn post(bot: &TestBot, body: Vec<u8>) -> (u16, Value) {
    let response = bot.signed("generic", body).send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// Whether every event that is told to be stored is in the log.
async fn is_in_the_log(bot: &TestBot, answer: &Value) -> bool {
    let alone = std::slice::from_ref(answer);
    for item in answer["events"].as_array().map_or(alone, Vec::as_slice) {
        if matches!(item["status"].as_str(), Some("stored" | "duplicate")) {
            let found: bool = sqlx::query_scalar("select exists (select from rejoinder.event_log where event_id = $1)")
                .bind(item["event_id"].as_str().unwrap())
                .fetch_one(bot.pool())
                .await
                .unwrap();
            if !found {
                return false;
            }
        }
    }
    true
}

#[rstest]
#[case::deep(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)))]
#[case::deep_payload(format!("{{\"event_id\":\"1\",\"event_type\":\"com.example.x\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"entity_id\":\"1\",\"schema_version\":1,\"payload\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000)))]
#[case::nul(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{"a":"\u0000"}}"#.to_owned())]
#[case::nul_in_the_id(r#"{"event_id":"\u0000","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{}}"#.to_owned())]
#[case::lone_surrogate(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{"a":"\ud800"}}"#.to_owned())]
#[case::huge_number(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{"a":1e999999}}"#.to_owned())]
#[case::huge_version(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":99999999999,"payload":{}}"#.to_owned())]
#[case::duplicate_keys(r#"{"event_id":"1","event_id":"2","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{}}"#.to_owned())]
#[case::duplicate_keys_in_the_payload(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"2026-01-01T00:00:00Z","entity_id":"1","schema_version":1,"payload":{"a":1,"a":2}}"#.to_owned())]
#[case::far_time(r#"{"event_id":"1","event_type":"com.example.x","timestamp":"9999-12-31T23:59:59Z","entity_id":"1","schema_version":1,"payload":{}}"#.to_owned())]
#[case::nothing(String::new())]
#[case::null("null".to_owned())]
#[case::many_empty("[{},{},{}]".to_owned())]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_body_is_the_senders_fault_or_taken_and_the_service_goes_on(#[case] body: String) {
    let bot = shop::open().await;
    let (status, answer) = post(&bot, body.into_bytes()).await;
    assert!(matches!(status, 200 | 202 | 400 | 422), "{status} {answer}");
    assert!(is_in_the_log(&bot, &answer).await, "{answer}");
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(shop::status_of(&bot, "10042").await, "shipped 1Z");
    assert_eq!(
        count(&bot, "rejoinder.dead_letters").await + count(&bot, "rejoinder.parked_events").await,
        0
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}|[\u{0}-\u{1f}]{1,3}|\u{fffd}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,8}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// An envelope of which up to two fields are anything.
fn almost_an_envelope() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "event_id",
        "event_type",
        "timestamp",
        "entity_id",
        "user_id",
        "schema_version",
        "payload",
    ]);
    let wrong = prop::collection::vec((field, any_json()), 0..3);
    (any::<u8>(), prop::sample::select(vec!["order.shipped", "com.example.x", "payment.confirmed"]), wrong).prop_map(|(id, event_type, wrong)| {
        let mut envelope = json!({"event_id": id.to_string(), "event_type": event_type, "timestamp": "2026-01-01T00:00:00Z",
            "entity_id": "10042", "schema_version": 1, "payload": {"tracking": "1Z", "amount": 1}});
        for (field, value) in wrong {
            envelope[field] = value;
        }
        envelope
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => any_json().prop_map(|json| json.to_string().into_bytes()),
        3 => almost_an_envelope().prop_map(|json| json.to_string().into_bytes()),
        3 => prop::collection::vec(almost_an_envelope(), 0..6).prop_map(|items| json!(items).to_string().into_bytes()),
        1 => (almost_an_envelope(), any::<prop::sample::Index>()).prop_map(|(json, end)| {
            let mut bytes = json.to_string().into_bytes();
            bytes.truncate(end.index(bytes.len()));
            bytes
        }),
    ]
}

#[test]
fn no_body_is_answered_by_an_error_of_ours_and_what_is_taken_is_in_the_log() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bot = runtime.block_on(shop::open());
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let tested = TestRunner::new(config).run(&any_body(), |body| {
        let (status, answer) = runtime.block_on(post(&bot, body));
        prop_assert!(status < 500, "{status} {answer}");
        prop_assert!(runtime.block_on(is_in_the_log(&bot, &answer)), "{answer}");
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
    runtime.block_on(bot.stop());
}
