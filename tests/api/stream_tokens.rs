//! Listening by a token: what a web page may hear, from which origin, for how long, and how often at once.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rejoinder::auth::signature;
use rejoinder::testing::{ChatStream, TestBot, TestSettings};
use reqwest::{Method, RequestBuilder, Response};
use rstest::rstest;
use serde_json::{Value, json};

use crate::events::command::run;
use crate::events::shop::{self, SESSION, shipped};
use crate::serve::Running;
use crate::support::eventually;

const CALLER: &str = "the-token-of-the-backend";
const SHOP: &str = "https://shop.example.com";
const OTHER: &str = "projects/demo/agent/sessions/2";

/// A shop whose callers need credentials, behind a proxy on this machine, and with a page of its own elsewhere.
async fn guarded_with(change: impl FnOnce(&mut TestSettings)) -> TestBot {
    shop::open_with(|settings| {
        settings.doors.general.auth.auth_bearer = Some(CALLER.into());
        settings.server.proxies.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.stream.stream_allowed_origins = SHOP.parse().unwrap();
        change(settings);
    })
    .await
}

async fn guarded() -> TestBot {
    guarded_with(|_| {}).await
}

fn ask(bot: &TestBot, wanted: &Value) -> RequestBuilder {
    bot.http().post(bot.url("/stream-tokens")).json(wanted)
}

/// A token, as the backend of the page gets it.
async fn given(bot: &TestBot, session: &str, seconds: u32) -> Value {
    let wanted = json!({"session": session, "seconds": seconds});
    let answer = ask(bot, &wanted).bearer_auth(CALLER).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    answer.json().await.unwrap()
}

async fn token(bot: &TestBot) -> String {
    given(bot, SESSION, 600).await["token"].as_str().unwrap().to_owned()
}

fn listen(bot: &TestBot, session: &str, token: &str) -> RequestBuilder {
    bot.http()
        .get(bot.url(&format!("/conversations/{session}/stream?token={token}")))
}

fn listen_by_cookie(bot: &TestBot, token: &str) -> RequestBuilder {
    let stream = bot.http().get(bot.url(&format!("/conversations/{SESSION}/stream")));
    stream.header("cookie", format!("theme=dark; rejoinder_stream={token}; a=b"))
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

async fn code(response: Response) -> String {
    let body: Value = response.json().await.unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// Waits for the end of a stream, whatever comes before it.
async fn ends(mut stream: Response) {
    let end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), end)
        .await
        .unwrap();
}

/// A token with these claims and this algorithm, made with the key that lies in the database.
async fn forged(bot: &TestBot, algorithm: Algorithm, change: impl FnOnce(&mut Value)) -> String {
    let key: String =
        sqlx::query_scalar("select secret from rejoinder.source_secrets where source = 'rejoinder/stream'")
            .fetch_one(bot.pool())
            .await
            .unwrap();
    let now = bot.clock().now().timestamp();
    let mut claims = json!({
        "sub": SESSION, "aud": "rejoinder/stream", "iat": now, "exp": now + 60, "jti": uuid::Uuid::new_v4(),
    });
    change(&mut claims);
    jsonwebtoken::encode(
        &Header::new(algorithm),
        &claims,
        &EncodingKey::from_secret(key.as_bytes()),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_lets_hear_one_conversation_until_it_expires() {
    let bot = guarded().await;
    let made = given(&bot, SESSION, 60).await;
    let expires_at: DateTime<Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
    let left = expires_at - bot.clock().now();
    assert!(
        left <= TimeDelta::seconds(60) && left > TimeDelta::seconds(58),
        "{left}"
    );
    let url = made["url"].as_str().unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(url, format!("/conversations/{SESSION}/stream?token={token}"));

    let by_address = bot.http().get(bot.url(url)).send().await.unwrap();
    assert_eq!(by_address.status(), 200);
    assert_eq!(by_address.headers()["content-type"], "text/event-stream");
    let by_cookie = listen_by_cookie(&bot, token).send().await.unwrap();
    assert_eq!(by_cookie.status(), 200);
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    let mut window = ChatStream::from(by_address);
    let heard = window.next().await;
    assert_eq!(heard.text, "Your order #10042 has shipped");
    let again = listen(&bot, SESSION, &format!("{token}&last_event_id=0"))
        .send()
        .await
        .unwrap();
    assert_eq!(ChatStream::from(again).next().await.stream_id, heard.stream_id);

    bot.clock().advance(TimeDelta::seconds(61));
    ends(by_cookie).await;
    let answer = listen(&bot, SESSION, token).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), code(answer).await.as_str()),
        (401, "unauthorized")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_that_is_not_for_this_stream_is_refused() {
    let bot = guarded().await;
    let right = token(&bot).await;
    assert_eq!(status(listen(&bot, SESSION, &right)).await, 200);
    let (claims, signature) = right.rsplit_once('.').unwrap();
    let other_end = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{claims}.{other_end}{}", &signature[1..]);
    let unsigned = format!(
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
        right.split('.').nth(1).unwrap()
    );
    let as_made = forged(&bot, Algorithm::HS256, |_| {}).await;
    assert_eq!(status(listen(&bot, SESSION, &as_made)).await, 200);
    let wrong = [
        (
            "another session's",
            given(&bot, OTHER, 600).await["token"].as_str().unwrap().to_owned(),
        ),
        ("altered", altered),
        ("unsigned", unsigned),
        ("none", String::new()),
        ("not one at all", CALLER.to_owned()),
        ("another algorithm", forged(&bot, Algorithm::HS384, |_| {}).await),
        (
            "another audience",
            forged(&bot, Algorithm::HS256, |claims| {
                claims["aud"] = json!("rejoinder/turns")
            })
            .await,
        ),
        (
            "no audience",
            forged(&bot, Algorithm::HS256, |claims| {
                drop(claims.as_object_mut().unwrap().remove("aud"))
            })
            .await,
        ),
        (
            "no end",
            forged(&bot, Algorithm::HS256, |claims| {
                drop(claims.as_object_mut().unwrap().remove("exp"))
            })
            .await,
        ),
        (
            "expired",
            forged(&bot, Algorithm::HS256, |claims| claims["exp"] = claims["iat"].clone()).await,
        ),
    ];
    for (what, token) in &wrong {
        for request in [listen(&bot, SESSION, token), listen_by_cookie(&bot, token)] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{what}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
            assert_eq!(code(answer).await, "unauthorized", "{what}");
        }
    }
    assert_eq!(status(listen(&bot, OTHER, &right)).await, 401);
    // It is no caller's: turns, and further tokens, are not for it.
    assert_eq!(
        status(ask(&bot, &json!({"session": SESSION})).bearer_auth(&right)).await,
        401
    );
    assert_eq!(
        status(
            bot.http()
                .post(bot.url(&format!("/fulfillment?token={right}")))
                .json(&json!({}))
        )
        .await,
        401
    );
    assert_eq!(
        status(bot.http().get(bot.url(&format!("/conversations/{SESSION}/stream")))).await,
        401
    );
    // A caller that has an old cookie of somebody's is still a caller.
    assert_eq!(status(listen_by_cookie(&bot, "old").bearer_auth(CALLER)).await, 200);
}

#[rstest]
#[case(json!([]), "", "an array", "a JSON object")]
#[case(json!({}), "session", "null", "a session's full name, projects/…/sessions/…")]
#[case(json!({"session": "1"}), "session", "\"1\"", "a session's full name, projects/…/sessions/…")]
#[case(json!({"session": SESSION, "seconds": 86_401}), "seconds", "86401", "a whole number from 1 to 86400")]
#[case(json!({"session": SESSION, "seconds": "60"}), "seconds", "\"60\"", "a whole number from 1 to 86400")]
#[case(json!({"session": SESSION, "minutes": 1}), "minutes", "a field of that name", "session or seconds")]
#[tokio::test]
async fn request_for_a_token_that_is_wrong_is_told_where(
    #[case] wanted: Value,
    #[case] field: &str,
    #[case] found: &str,
    #[case] expected: &str,
) {
    let bot = guarded().await;
    let answer = ask(&bot, &wanted).bearer_auth(CALLER).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let told: Value = answer.json().await.unwrap();
    let error = &told["error"];
    assert_eq!(error["code"], "bad_field");
    assert_eq!(
        [&error["field"], &error["found"], &error["expected"]],
        [field, found, expected]
    );
    assert_eq!(status(ask(&bot, &wanted)).await, 401);
}

#[tokio::test]
async fn signature_of_a_request_for_a_token_is_over_its_body() {
    let bot = guarded_with(|settings| {
        settings.doors.general.auth.auth_hmac_secret = Some("a secret of some length".into());
    })
    .await;
    let now = bot.clock().now().timestamp();
    let wanted = json!({"session": SESSION});
    let signed = |body: &[u8]| {
        ask(&bot, &wanted).header(signature::TIMESTAMP_HEADER, now).header(
            signature::SIGNATURE_HEADER,
            signature::sign(b"a secret of some length", now, body),
        )
    };
    assert_eq!(status(signed(b"")).await, 401);
    assert_eq!(status(signed(wanted.to_string().as_bytes())).await, 201);
    let posted = bot.http().post(bot.url("/stream-tokens")).bearer_auth(CALLER);
    assert_eq!(
        status(posted.body(wanted.to_string())).await,
        415,
        "what any page can post"
    );
    let got = bot.http().get(bot.url("/stream-tokens")).bearer_auth(CALLER);
    assert_eq!(status(got).await, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_read_streams_and_others_may_not() {
    let bot = guarded().await;
    let token = token(&bot).await;
    let url = bot.url(&format!("/conversations/{SESSION}/stream"));
    let preflight = |url: &str, origin: &str| {
        let request = bot.http().request(Method::OPTIONS, url).header("origin", origin);
        request.header("access-control-request-method", "GET")
    };
    let asked = preflight(&url, SHOP).header("access-control-request-headers", "last-event-id");
    let allowed = asked.send().await.unwrap();
    assert_eq!(allowed.status(), 204);
    let headers = allowed.headers();
    assert_eq!(headers["access-control-allow-origin"], SHOP);
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-allow-methods"], "GET");
    assert_eq!(headers["access-control-allow-headers"], "authorization, last-event-id");
    assert_eq!(headers["vary"], "Origin");

    let own = bot.url("");
    let not_listed = [
        "https://evil.example",
        "https://shop.example.com.evil.example",
        "http://shop.example.com",
        "null",
    ];
    for origin in not_listed.into_iter().chain([own.as_str()]) {
        let refused = preflight(&url, origin).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{origin}");
        let read = listen(&bot, SESSION, &token)
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        assert_eq!(read.status(), 200, "{origin}");
        for answer in [refused, read] {
            let told = answer
                .headers()
                .keys()
                .filter(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(told.count(), 0, "{origin}");
            assert_eq!(answer.headers()["vary"], "Origin");
        }
        let expected = if origin == own { 200 } else { 403 };
        let by_cookie = listen_by_cookie(&bot, &token)
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        assert_eq!(by_cookie.status().as_u16(), expected, "{origin}");
    }
    for request in [
        listen(&bot, SESSION, &token),
        listen_by_cookie(&bot, &token),
        listen(&bot, SESSION, "wrong"),
    ] {
        let answer = request.header("origin", SHOP).send().await.unwrap();
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            SHOP,
            "{}",
            answer.status()
        );
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
        assert_eq!(answer.headers()["vary"], "Origin");
    }
    // Nowhere else.
    for path in ["/stream-tokens", "/fulfillment"] {
        let answer = preflight(&bot.url(path), SHOP).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_a_token_and_of_an_address_are_bounded() {
    let bot = guarded().await;
    let from = |client: &str, token: &str| listen(&bot, SESSION, token).header("x-forwarded-for", client);
    let first = token(&bot).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let stream = from("203.0.113.1", &first).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        open.push(stream);
    }
    let refused = from("203.0.113.2", &first).send().await.unwrap();
    assert_eq!(refused.status(), 429, "a token is one, from wherever it comes");
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(code(refused).await, "too_many_streams");
    drop(open.pop());
    eventually("a place is free again", async || {
        let answer = from("203.0.113.1", &first).send().await.unwrap();
        let is_open = answer.status() == 200;
        open.extend(is_open.then_some(answer));
        is_open
    })
    .await;

    while open.len() < 20 {
        let stream = from("203.0.113.1", &token(&bot).await).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        open.push(stream);
    }
    let next = token(&bot).await;
    assert_eq!(status(from("203.0.113.1", &next)).await, 429);
    assert_eq!(status(from("203.0.113.2", &next)).await, 200);
    let caller = bot.http().get(bot.url(&format!("/conversations/{SESSION}/stream")));
    let caller = caller.header("x-forwarded-for", "203.0.113.1").bearer_auth(CALLER);
    assert_eq!(status(caller).await, 200, "callers are not counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_read_where_everybody_is_admitted_and_are_not_needed() {
    let bot = shop::open().await;
    let answer = ask(&bot, &json!({"session": SESSION})).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let made: Value = answer.json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(status(listen(&bot, SESSION, token)).await, 200);
    assert_eq!(status(listen(&bot, OTHER, token)).await, 401);
    assert_eq!(
        status(bot.http().get(bot.url(&format!("/conversations/{OTHER}/stream")))).await,
        200
    );
    let rebound = ask(&bot, &json!({"session": SESSION})).header("host", "rebind.attacker.net");
    assert_eq!(status(rebound).await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_makes_a_token_that_every_replica_takes() {
    let bot = guarded().await;
    let plain = run(&bot, &["stream-token", SESSION]).await;
    assert_eq!((plain.code, plain.err.as_str()), (0, ""));
    assert_eq!(status(listen(&bot, SESSION, plain.out.trim())).await, 200);
    let made = run(&bot, &["stream-token", SESSION, "--seconds", "5", "--json"]).await;
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let url = made["url"].as_str().unwrap();
    assert_eq!(status(bot.http().get(bot.url(url))).await, 200);
    let database = bot.database();
    let replica = guarded_with(|settings| settings.database = Some(database)).await;
    assert_eq!(status(listen(&replica, SESSION, &token(&bot).await)).await, 200);
    let wrong = run(&bot, &["stream-token", "sessions/1"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("projects/"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_in_no_log() {
    let mut running = Running::start_logged(&[("AUTH_BEARER", CALLER), ("RUST_LOG", "trace")]);
    let http = reqwest::Client::builder().build().unwrap();
    let ask = http.post(format!("{}/stream-tokens", running.url)).bearer_auth(CALLER);
    let made: Value = ask
        .json(&json!({"session": SESSION}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let (token, url) = (made["token"].as_str().unwrap(), made["url"].as_str().unwrap());
    for (session, expected) in [(SESSION, 200), (OTHER, 401)] {
        let stream = format!("{}{}", running.url, url.replace(SESSION, session));
        assert_eq!(status(http.get(stream)).await, expected);
        let by_cookie = http.get(format!("{}/conversations/{session}/stream", running.url));
        assert_eq!(
            status(by_cookie.header("cookie", format!("rejoinder_stream={token}"))).await,
            expected
        );
    }
    let log = running.logs();
    assert!(
        log.contains(&format!("/conversations/{SESSION}/stream")),
        "the path is logged"
    );
    assert!(
        log.contains("a stream token of another session"),
        "why one was refused is logged"
    );
    let claims = token.split('.').nth(1).unwrap();
    assert!(
        !log.contains(token) && !log.contains(claims) && !log.contains("?token="),
        "a token is logged"
    );
}
