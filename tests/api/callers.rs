//! Who may post turns, seen from outside.

use std::io::Write as _;

use rejoinder::auth::signature;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Data};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{Gate, es, eventually, numbered};

fn counting() -> Bot {
    Bot::new().data(Gate::opened()).intent("Count", numbered)
}

fn post(bot: &TestBot) -> RequestBuilder {
    bot.http()
        .post(bot.url("/fulfillment"))
        .header("content-type", "application/json")
        .body(body())
}

fn body() -> String {
    es("r1", "Count", json!({})).to_string()
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn refusal_is_401_with_every_challenge_and_no_reason() {
    let bot = TestBot::start_with(counting(), |settings| {
        settings.auth.auth_basic = Some("ada:pw".into());
        settings.auth.auth_bearer = Some("token-1\ntoken-2".into());
    })
    .await;
    assert_eq!(status(post(&bot).basic_auth("ada", Some("pw"))).await, 200);
    assert_eq!(status(post(&bot).bearer_auth("token-2")).await, 200);
    let mut told = Vec::new();
    for refused in [
        post(&bot),
        post(&bot).basic_auth("ada", Some("no")),
        post(&bot).basic_auth("bob", Some("pw")),
        post(&bot).bearer_auth("x"),
    ] {
        let response = refused.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().cloned().collect();
        assert!(challenges.len() >= 2, "{challenges:?}");
        told.push((challenges, response.text().await.unwrap()));
    }
    assert!(
        told.windows(2).all(|pair| pair[0] == pair[1]),
        "a refusal tells what was wrong: {told:?}"
    );
}

#[tokio::test]
async fn metrics_are_for_callers_and_health_is_for_all() {
    let bot = TestBot::start_with(counting(), |settings| settings.auth.auth_bearer = Some("token".into())).await;
    assert_eq!(status(bot.http().get(bot.url("/metrics"))).await, 401);
    assert_eq!(
        status(bot.http().get(bot.url("/metrics")).bearer_auth("token")).await,
        200
    );
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(bot.http().get(bot.url(path))).await, 200);
    }
}

#[tokio::test]
async fn signed_request_is_admitted_once() {
    let bot = TestBot::start_with(counting(), |settings| {
        settings.auth.auth_hmac_secret = Some("a secret of some length".into())
    })
    .await;
    let signed = |secret: &str, at: i64| {
        let signature = signature::sign(secret.as_bytes(), at, body().as_bytes());
        post(&bot)
            .header(signature::TIMESTAMP_HEADER, at)
            .header(signature::SIGNATURE_HEADER, signature)
    };
    let now = bot.clock().now().timestamp();
    assert_eq!(status(signed("a secret of some length", now)).await, 200);
    assert_eq!(status(signed("a secret of some length", now)).await, 401);
    assert_eq!(status(signed("a secret of some length", now + 1)).await, 200);
    assert_eq!(status(signed("a secret of some length", now - 301)).await, 401);
    assert_eq!(status(signed("another secret altogether", now)).await, 401);
}

#[tokio::test]
async fn secret_file_is_read_again_when_it_changes() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old-token").unwrap();
    let path = file.path().to_owned();
    let bot = TestBot::start_with(counting(), |settings| settings.auth.auth_bearer_file = Some(path)).await;
    assert_eq!(status(post(&bot).bearer_auth("old-token")).await, 200);
    std::fs::write(file.path(), "old-token\nnew-token\n").unwrap();
    eventually("the new one is live", async || {
        status(post(&bot).bearer_auth("new-token")).await == 200
    })
    .await;
    assert_eq!(status(post(&bot).bearer_auth("old-token")).await, 200);
    std::fs::write(file.path(), "new-token\n").unwrap();
    eventually("the old one is not", async || {
        status(post(&bot).bearer_auth("old-token")).await == 401
    })
    .await;
    assert_eq!(status(post(&bot).bearer_auth("new-token")).await, 200);
}

async fn never(_: Data<Gate>) -> Result<rejoinder::Reply, rejoinder::Fail> {
    unreachable!("a caller who is refused reaches no handler")
}

#[tokio::test]
async fn refused_caller_reaches_no_handler_and_learns_nothing_of_the_body() {
    let bot = Bot::new().data(Gate::opened()).intent("Count", never);
    let bot = TestBot::start_with(bot, |settings| settings.auth.auth_bearer = Some("token".into())).await;
    assert_eq!(status(post(&bot)).await, 401);
    assert_eq!(status(post(&bot).body("not json")).await, 401);
}
