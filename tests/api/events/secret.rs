//! Secrets of a source: several live at once, rotated while the service runs, and one for all replicas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rejoinder::Clock;
use rejoinder::testing::TestBot;
use serde_json::json;
use sha2::Sha256;
use uuid::Uuid;

use super::command::run;
use super::directory::{Directory, package};
use super::shop::{self, count, shipped};
use crate::serve::Running;
use crate::support::eventually;

/// A secret of the form in which Standard Webhooks writes it.
fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// Posts an event to the source `generic` at `url` that is signed with the secret of this byte.
async fn signed_with(url: &str, now: chrono::DateTime<Utc>, byte: u8) -> u16 {
    let event = json!({"event_id": Uuid::new_v4().to_string(), "event_type": "order.shipped", "timestamp": now,
        "entity_id": "10042", "schema_version": 2, "payload": shipped("1Z")});
    let (body, timestamp) = (event.to_string(), now.timestamp());
    let mut mac = Hmac::<Sha256>::new_from_slice(&[byte; 32]).unwrap();
    mac.update(format!("msg_1.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let post = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{url}/events/generic"))
        .header("content-type", "application/json")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body);
    post.send().await.unwrap().status().as_u16()
}

async fn signed_by_an_old_one(url: &str) -> Option<String> {
    let http = reqwest::Client::builder().build().unwrap();
    let scrape = http.get(format!("{url}/metrics")).send().await.unwrap();
    let metrics = scrape.text().await.unwrap();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rejoinder_events_old_secret_total{source=\"generic\"} "));
    line.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_secret_is_taken_and_counted_and_rotation_needs_no_restart() {
    let home = crate::serve::data_dir();
    let file = home.path().join("generic.secrets");
    let write = |bytes: &[u8]| {
        let lines: Vec<String> = bytes.iter().map(|byte| secret(*byte)).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
    };
    write(&[1, 2]);
    let (events, file) = (package(), file.to_str().unwrap());
    let settings = [
        ("EVENTS_DIR", events.to_str().unwrap()),
        ("GENERIC_WEBHOOK_SECRET_FILE", file),
    ];
    let running = Running::start(&home, &settings);
    let signed_with = async |byte| signed_with(&running.url, Clock::system().now(), byte).await;
    assert_eq!(signed_with(1).await, 202);
    assert_eq!(signed_by_an_old_one(&running.url).await, None);
    assert_eq!(signed_with(2).await, 202);
    assert_eq!(signed_with(3).await, 401);
    assert_eq!(signed_by_an_old_one(&running.url).await.as_deref(), Some("1"));

    write(&[3, 1]);
    eventually("the new secret counts", async || signed_with(3).await == 202).await;
    assert_eq!(signed_with(1).await, 202);
    assert_eq!(signed_with(2).await, 401);
    assert_eq!(signed_by_an_old_one(&running.url).await.as_deref(), Some("2"));
}

/// What is kept for the source `generic`.
async fn kept(bot: &TestBot) -> String {
    sqlx::query_scalar("select secret from rejoinder.source_secrets where source = 'generic'")
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_secret_is_one_for_all_replicas_and_outlives_their_disks() {
    let (first_home, second_home) = (Directory::copied(), Directory::copied());
    let first = shop::open_with(|settings| first_home.set(settings)).await;
    let second = shop::open_with(|settings| {
        second_home.set(settings);
        settings.database = Some(first.database());
        settings.now = first.clock().now();
    })
    .await;
    let event = first.envelope("order.shipped", "10042", &shipped("1Z")).to_string();
    let mut request = first.signed("generic", event).build().unwrap();
    *request.url_mut() = second.url("/events/generic").parse().unwrap();
    assert_eq!(second.http().execute(request).await.unwrap().status(), 202);
    assert!(kept(&first).await.starts_with("whsec_"));
    for home in [&first_home, &second_home] {
        assert!(!home.data_dir().exists(), "nothing is written to DATA_DIR");
    }
    let arguments = ["events", "send", "order.shipped", "--entity", "10042", "--payload"];
    let url = first.url("");
    let more = [r#"{"tracking_number": "2Z"}"#, "--url", url.as_str()];
    let sent = run(&first, &[&arguments[..], &more[..]].concat()).await;
    assert!(sent.code == 0 && sent.out.starts_with("202 Accepted"), "{sent:?}");
    assert_eq!(count(&first, "rejoinder.event_log").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_lie_in_data_directories_are_taken_over() {
    let (first_home, second_home) = (Directory::copied(), Directory::copied());
    first_home.secrets("generic", &[&secret(1)]);
    second_home.secrets("generic", &[&secret(2)]);
    let first = shop::open_with(|settings| first_home.set(settings)).await;
    let now = first.clock().now();
    assert_eq!(signed_with(&first.url(""), now, 1).await, 202);
    let second = shop::open_with(|settings| {
        second_home.set(settings);
        settings.database = Some(first.database());
        settings.now = now;
    })
    .await;
    for byte in [1, 2] {
        assert_eq!(signed_with(&second.url(""), now, byte).await, 202, "{byte}");
    }
    let both = format!("{}\n{}", secret(1), secret(2));
    assert_eq!(kept(&first).await, both);
    let again = shop::open_with(|settings| {
        first_home.set(settings);
        settings.database = Some(first.database());
        settings.now = now;
    })
    .await;
    assert_eq!(signed_with(&again.url(""), now, 2).await, 202);
    assert_eq!(kept(&first).await, both, "nothing is taken over twice");
}
