//! What senders ask before their first event, of the sources that are shipped.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rejoinder::Clock;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::Sha256;

use super::directory;
use crate::serve::{Running, data_dir};

const SECRET: &str = "a-secret-of-the-tests";

fn hex_mac(message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Signed as Slack and Zoom do, with their headers.
fn signed(request: RequestBuilder, signature: &str, timestamp: &str, body: &Value) -> RequestBuilder {
    let (now, body) = (Clock::system().now().timestamp(), body.to_string());
    request
        .header("content-type", "application/json")
        .header(timestamp, now)
        .header(signature, format!("v0={}", hex_mac(&format!("v0:{now}:{body}"))))
        .body(body)
}

async fn told(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sender_that_asks_first_is_answered_as_it_wants() {
    let home = data_dir();
    let events = directory::package();
    let running = Running::start(
        &home,
        &[
            ("EVENTS_DIR", events.to_str().unwrap()),
            ("SLACK_SIGNING_SECRET", SECRET),
            ("ZOOM_WEBHOOK_SECRET", SECRET),
            ("META_APP_SECRET", SECRET),
            ("META_VERIFY_TOKEN", "shown-to-meta"),
            ("MSGRAPH_CLIENT_STATE", SECRET),
            ("CLOUDEVENTS_BEARER_TOKEN", "a-bearer-token-of-the-tests"),
        ],
    );
    let http = Client::builder().build().unwrap();
    let url = |rest: &str| format!("{}/events/{rest}", running.url);

    let asks = json!({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB10"});
    let slack = || http.post(url("slack"));
    let names = ("x-slack-signature", "x-slack-request-timestamp");
    let answer = signed(slack(), names.0, names.1, &asks).send().await.unwrap();
    assert_eq!(told(answer).await, (200, "3eZbrw1aB10".to_owned()));
    let unsigned = slack().json(&asks).send().await.unwrap();
    assert_eq!(unsigned.status(), 401);

    let asks =
        json!({"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, "event_ts": 1});
    let names = ("x-zm-signature", "x-zm-request-timestamp");
    let answer = signed(http.post(url("zoom")), names.0, names.1, &asks)
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let proof = hex_mac("qgg8vlvZRS6UYooatFL8Aw");
    assert_eq!(
        answer,
        json!({"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": proof})
    );

    let meta = async |token: &str| {
        let query = format!("meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        told(http.get(url(&query)).send().await.unwrap()).await
    };
    assert_eq!(meta("shown-to-meta").await, (200, "1158201444".to_owned()));
    assert_eq!(meta("guessed").await, (403, String::new()));

    let answer = http
        .post(url("msgraph?validationToken=Validation%3A+%3Cb%3E"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(told(answer).await, (200, "Validation: <b>".to_owned()));

    let cloudevents = || {
        http.request("OPTIONS".parse().unwrap(), url("cloudevents"))
            .header("webhook-request-origin", "eventemitter.example.com")
            .header("webhook-request-rate", "120")
    };
    let answer = cloudevents().send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().contains_key("webhook-allowed-origin"), "{answer:?}");
    let shown = cloudevents().bearer_auth("a-bearer-token-of-the-tests");
    let answer = shown.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["webhook-allowed-origin"], "eventemitter.example.com");
    assert_eq!(answer.headers()["webhook-allowed-rate"], "*");
    assert_eq!(answer.headers()["allow"], "POST");
}
