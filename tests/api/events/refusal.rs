//! Requests that are not taken, and what their senders are told.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use reqwest::Response;
use rstest::rstest;
use serde_json::{Value, json};

use super::directory::Directory;
use super::shop::{self, count, shipped};
use crate::serve::Running;
use crate::support::eventually;

async fn error(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    (status, answer["error"].clone())
}

async fn unsigned(bot: &TestBot, source: &str) -> Response {
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    let post = bot.http().post(bot.url(&format!("/events/{source}"))).json(&event);
    post.send().await.unwrap()
}

#[tokio::test]
async fn unknown_source_is_404() {
    let bot = shop::open().await;
    let (status, error) = error(unsigned(&bot, "nobody").await).await;
    assert_eq!((status, &error["code"]), (404, &json!("unknown_source")));
    assert_eq!(error["message"], "there is no source \"nobody\"");
}

#[tokio::test]
async fn source_without_a_secret_is_503_with_retry_after() {
    let bot = shop::open().await;
    let response = unsigned(&bot, "stripe").await;
    assert_eq!(response.headers()["retry-after"], "10");
    let (status, error) = error(response).await;
    assert_eq!((status, &error["code"]), (503, &json!("source_not_configured")));
}

#[tokio::test]
async fn request_that_is_not_signed_is_401() {
    let bot = shop::open().await;
    let response = unsigned(&bot, "generic").await;
    assert!(response.headers().contains_key("www-authenticate"));
    let (status, error) = error(response).await;
    assert_eq!((status, &error["code"]), (401, &json!("not_signed")));
}

#[tokio::test]
async fn body_that_is_not_the_one_that_was_signed_is_401() {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z")).to_string();
    let mut request = bot.signed("generic", event.clone()).build().unwrap();
    *request.body_mut() = Some(event.replace("1Z", "2Z").into());
    let (status, error) = error(bot.http().execute(request).await.unwrap()).await;
    assert_eq!((status, &error["code"]), (401, &json!("bad_signature")));
    assert_eq!(count(&bot, "rejoinder.event_log").await, 0);
}

#[rstest]
#[case::old(301, 401)]
#[case::old_enough(300, 202)]
#[case::in_the_future(-301, 401)]
#[case::soon_enough(-300, 202)]
#[tokio::test]
async fn time_of_signing_must_be_within_five_minutes(#[case] age_s: i64, #[case] wanted: u16) {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    let request = bot.signed("generic", event.to_string());
    bot.clock().advance(TimeDelta::seconds(age_s));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, wanted, "{answer}");
    if wanted == 401 {
        assert_eq!(answer["error"]["code"], "bad_timestamp");
    }
}

#[tokio::test]
async fn body_beyond_the_sources_limit_is_413() {
    let directory = Directory::copied().with(
        "sources/small.toml",
        "format = 'envelope'\n[secret]\nenv = 'NO_SUCH_SECRET'\ngenerated = true\n[scheme]\nkind = 'standard-webhooks'\n\
         [limits]\nbody_bytes = 400\n",
    );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let of_length = |length| bot.envelope("order.shipped", "10042", &shipped(&"1".repeat(length)));
    assert_eq!(bot.post_event("small", &of_length(100)).await.0, 202);
    let (status, answer) = bot.post_event("small", &of_length(400)).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));
    assert_eq!(bot.post_event("generic", &of_length(400)).await.0, 202);
}

#[tokio::test]
async fn body_that_is_not_json_is_400_with_line_and_column() {
    let bot = shop::open().await;
    for body in ["{\n  \"event_id\": oops}", "[{},\n {]"] {
        let (status, error) = error(bot.signed("generic", body).send().await.unwrap()).await;
        assert_eq!((status, &error["code"]), (400, &json!("not_events")), "{error}");
        assert!(
            error["message"].as_str().unwrap().contains("at line 2 column "),
            "{error}"
        );
        assert_eq!(error["line"], 2, "{error}");
        assert!(error["column"].is_u64(), "{error}");
    }
}

#[tokio::test]
async fn another_content_type_is_415() {
    let bot = shop::open().await;
    let mut request = bot.signed("generic", "event_id=1").build().unwrap();
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", form);
    let (status, error) = error(bot.http().execute(request).await.unwrap()).await;
    assert_eq!(status, 415);
    let wanted =
        "content-type: found \"application/x-www-form-urlencoded\", expected application/json or application/x-ndjson";
    assert_eq!(error["message"], wanted);
}

#[rstest]
#[case("GET")]
#[case("PUT")]
#[case("DELETE")]
#[case("OPTIONS")]
#[tokio::test]
async fn another_method_is_405(#[case] method: &str) {
    let bot = shop::open().await;
    let request = bot.http().request(method.parse().unwrap(), bot.url("/events/generic"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_refusal_leaves_a_line_a_second_that_counts_and_no_body() {
    let directory = Directory::copied();
    let mut running = Running::start_logged(&[
        ("EVENTS_DIR", directory.path().to_str().unwrap()),
        ("LOG_FORMAT", "json"),
        ("CLOUDEVENTS_BEARER_TOKEN", "a-bearer-token-of-the-tests"),
    ]);
    let http = reqwest::Client::builder().build().unwrap();
    let post = async |source: &str, token: &str, body: &'static str| {
        let post = http
            .post(format!("{}/events/{source}", running.url))
            .header("content-type", "application/cloudevents+json")
            .bearer_auth(token)
            .body(body);
        post.send().await.unwrap().status().as_u16()
    };
    for _ in 0..20 {
        assert_eq!(post("cloudevents", "marked-token", "marked-body").await, 401);
    }
    let good = "a-bearer-token-of-the-tests";
    assert_eq!(post("cloudevents", good, r#"{"id": "marked-body"}"#).await, 422);
    assert_eq!(post("cloudevents", good, "marked-body").await, 400);
    assert_eq!(post("stripe", good, "marked-body").await, 503);
    assert_eq!(post("nobody", good, "marked-body").await, 404);
    let counted = |log: &str, source: &str, reason: &str| -> (usize, u64) {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told = lines.filter(|line| {
            let fields = &line["fields"];
            line["level"] == "WARN" && fields["source"] == source && fields["reason"] == reason
        });
        told.fold((0, 0), |(lines, times), line| {
            (lines + 1, times + line["fields"]["times"].as_u64().unwrap())
        })
    };
    eventually("all that was left out is told", async || {
        counted(&running.log_so_far(), "cloudevents", "bad_signature").1 == 20
    })
    .await;
    let log = running.logs();
    let (lines, _) = counted(&log, "cloudevents", "bad_signature");
    assert!(lines < 20, "one line a second, not one a request: {lines}");
    for (source, reason) in [
        ("cloudevents", "bad_envelope"),
        ("cloudevents", "not_events"),
        ("stripe", "source_not_configured"),
        ("(unknown)", "unknown_source"),
    ] {
        assert_eq!(counted(&log, source, reason), (1, 1), "{source} {reason}\n{log}");
    }
    assert!(!log.contains("marked-"), "{log}");
}
