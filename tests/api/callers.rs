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
        settings.doors.general.auth.auth_basic = Some("ada:pw".into());
        settings.doors.general.auth.auth_bearer = Some("token-1\ntoken-2".into());
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
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer = Some("token".into())
    })
    .await;
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
        settings.doors.general.auth.auth_hmac_secret = Some("a secret of some length".into())
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

    // What one replica has admitted another one does not, nor the same one after a restart.
    let database = bot.database();
    bot.stop().await;
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_hmac_secret = Some("a secret of some length".into());
        settings.database = Some(database);
    })
    .await;
    let post = |at: i64| {
        let signature = signature::sign(b"a secret of some length", at, body().as_bytes());
        post(&bot)
            .header(signature::TIMESTAMP_HEADER, at)
            .header(signature::SIGNATURE_HEADER, signature)
    };
    assert_eq!(status(post(now)).await, 401);
    assert_eq!(status(post(now + 2)).await, 200);
}

#[tokio::test]
async fn secret_file_is_read_again_when_it_changes() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old-token").unwrap();
    let path = file.path().to_owned();
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer_file = Some(path)
    })
    .await;
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
    let bot = TestBot::start_with(bot, |settings| {
        settings.doors.general.auth.auth_bearer = Some("token".into())
    })
    .await;
    assert_eq!(status(post(&bot)).await, 401);
    assert_eq!(status(post(&bot).body("not json")).await, 401);
}

/// Whether the stream has ended.
async fn has_ended(stream: &mut reqwest::Response) -> bool {
    let chunk = tokio::time::timeout(std::time::Duration::from_millis(50), stream.chunk()).await;
    matches!(chunk, Ok(Ok(None) | Err(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_ends_when_what_its_reader_was_admitted_with_is_withdrawn() {
    let key = "a secret of the issuer and of nobody else";
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "old-token\nkept-token\n").unwrap();
    let path = tokens.path().to_owned();
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer_file = Some(path);
        settings.doors.general.auth.auth_jwt_key = Some(key.into());
        settings.doors.general.auth.auth_hmac_secret = Some("a secret of some length".into());
    })
    .await;
    let now = bot.clock().now().timestamp();
    let url = bot.url("/conversations/projects/p/agent/sessions/s/stream");
    let open = async |request: RequestBuilder| {
        let stream = request.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        stream
    };
    let claims = json!({"sub": "window", "exp": now + 600});
    let jwt_key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
    let jwt = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &jwt_key).unwrap();
    let signed = bot.http().get(&url).header(signature::TIMESTAMP_HEADER, now).header(
        signature::SIGNATURE_HEADER,
        signature::sign(b"a secret of some length", now, b""),
    );
    let mut kept = open(bot.http().get(&url).bearer_auth("kept-token")).await;
    let mut withdrawn = open(bot.http().get(&url).bearer_auth("old-token")).await;
    let mut expiring = open(bot.http().get(&url).bearer_auth(&jwt)).await;
    let mut signed = open(signed).await;

    std::fs::write(tokens.path(), "kept-token\n").unwrap();
    eventually("the stream of the old token ends", async || {
        has_ended(&mut withdrawn).await
    })
    .await;
    assert!(!has_ended(&mut expiring).await);
    bot.clock().advance(chrono::TimeDelta::seconds(640));
    eventually("the stream of the expired token ends", async || {
        has_ended(&mut expiring).await
    })
    .await;
    // That the signature is old by now was looked at when the stream began.
    assert!(!has_ended(&mut kept).await && !has_ended(&mut signed).await);
}

#[tokio::test]
async fn page_that_has_a_name_of_its_own_for_this_address_is_refused_while_everybody_is_admitted() {
    let bot = TestBot::start(counting()).await;
    let window = || {
        bot.http()
            .get(bot.url("/conversations/projects/p/agent/sessions/s/stream"))
    };
    for host in [
        "rebind.attacker.net",
        "rebind.attacker.net:8080",
        "localhost.attacker.net",
        "10.0.0.1",
        "0x",
    ] {
        assert_eq!(status(post(&bot).header("host", host)).await, 403, "{host}");
        assert_eq!(status(window().header("host", host)).await, 403, "{host}");
        assert_eq!(
            status(bot.http().get(bot.url("/metrics")).header("host", host)).await,
            403
        );
    }
    for host in [
        "localhost:8080",
        "127.0.0.1:1",
        "[::1]:8080",
        "bot.localhost",
        "LOCALHOST",
    ] {
        assert_eq!(status(post(&bot).header("host", host)).await, 200, "{host}");
    }
    let guarded = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer = Some("token".into())
    })
    .await;
    let named = post(&guarded).header("host", "bot.example.com").bearer_auth("token");
    assert_eq!(status(named).await, 200);
}

#[tokio::test]
async fn wrong_query_is_refused_as_everything_else_is() {
    let bot = TestBot::start(counting()).await;
    let path = "/conversations/projects/p/agent/sessions/s/stream?last_event_id=0&last_event_id=5";
    let answer = bot.http().get(bot.url(path)).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(told["error"]["code"], "bad_query", "{told}");
}
