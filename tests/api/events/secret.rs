//! Secrets of a source: several live at once, and rotated while the service runs.

use std::fs::File;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rejoinder::testing::TestBot;
use sha2::Sha256;

use super::directory::Directory;
use super::shop::{self, shipped};
use crate::support::{eventually, metrics};

/// A secret of the form in which Standard Webhooks writes it.
fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// Posts an event that is signed with the secret of this byte.
async fn signed_with(bot: &TestBot, byte: u8) -> u16 {
    let body = bot.envelope("order.shipped", "10042", &shipped("1Z")).to_string();
    let timestamp = bot.clock().now().timestamp();
    let mut mac = Hmac::<Sha256>::new_from_slice(&[byte; 32]).unwrap();
    mac.update(format!("msg_1.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let post = bot
        .http()
        .post(bot.url("/events/generic"))
        .header("content-type", "application/json")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body);
    post.send().await.unwrap().status().as_u16()
}

async fn signed_by_an_old_one(bot: &TestBot) -> Option<String> {
    let metrics = metrics(bot).await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rejoinder_events_old_secret_total{source=\"generic\"} "));
    line.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_secret_is_taken_and_counted_and_rotation_needs_no_restart() {
    let directory = Directory::copied();
    directory.secrets("generic", &[&secret(1), &secret(2)]);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(signed_with(&bot, 1).await, 202);
    assert_eq!(signed_by_an_old_one(&bot).await, None);
    assert_eq!(signed_with(&bot, 2).await, 202);
    assert_eq!(signed_with(&bot, 3).await, 401);
    assert_eq!(signed_by_an_old_one(&bot).await.as_deref(), Some("1"));

    directory.secrets("generic", &[&secret(3), &secret(1)]);
    // Files are told apart by their time: this one's is another, however coarse the disk's clock.
    let file = File::options()
        .append(true)
        .open(directory.path().join("data/secrets/generic"));
    file.unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(1))
        .unwrap();
    eventually("the new secret counts", async || signed_with(&bot, 3).await == 202).await;
    assert_eq!(signed_with(&bot, 1).await, 202);
    assert_eq!(signed_with(&bot, 2).await, 401);
    assert_eq!(signed_by_an_old_one(&bot).await.as_deref(), Some("2"));
}
