//! Tokens that are had for calls: once for all, before they end, and again when they are refused.

use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use wiremock::matchers::{body_string, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::fail::Fail;
use crate::upstream::{Upstream, key_client};

/// `PATH` is there wherever tests run, and serves as a secret as well as any.
const SECRET: &str = "PATH";

fn clock() -> Clock {
    Clock::held("2026-09-21T12:00:00Z".parse().unwrap())
}

fn token(name: &str, life: u64) -> ResponseTemplate {
    let answer = json!({"access_token": name, "token_type": "bearer", "expires_in": life});
    ResponseTemplate::new(200).set_body_json(answer)
}

/// Gives the answers one after the other, and the last one from then on.
async fn issuer(answers: &[ResponseTemplate]) -> MockServer {
    let server = MockServer::start().await;
    let (last, first) = answers.split_last().unwrap();
    for (priority, answer) in (1..).zip(first) {
        Mock::given(path("/token"))
            .respond_with(answer.clone())
            .up_to_n_times(1)
            .with_priority(priority)
            .mount(&server)
            .await;
    }
    Mock::given(path("/token"))
        .respond_with(last.clone())
        .with_priority(9)
        .mount(&server)
        .await;
    server
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

fn client_of(server: &MockServer) -> ClientCredentials {
    ClientCredentials::new(&format!("{}/token", server.uri()), "shop:eu", SECRET)
}

async fn had(tokens: &Tokens, client: &ClientCredentials) -> Result<String, String> {
    let bearer = tokens.bearer(client, &key_client().unwrap(), true).await;
    bearer
        .map(|value| value.to_str().unwrap().to_owned())
        .map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn client_shows_who_it_is_and_what_it_wants() {
    let server = MockServer::start().await;
    let secret = crate::config::variable(SECRET).unwrap();
    Mock::given(method("POST"))
        .and(header("authorization", client_basic("shop:eu", &secret).unwrap()))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string(
            "grant_type=client_credentials&scope=orders.read+orders.write&audience=crm&resource=https%3A%2F%2Fcrm.example",
        ))
        .respond_with(token("t1", 3600))
        .mount(&server)
        .await;
    let client = client_of(&server)
        .scopes(&["orders.read", "orders.write"])
        .audience("crm")
        .resource("https://crm.example");
    assert_eq!(had(&Tokens::new(clock()), &client).await.unwrap(), "Bearer t1");
}

#[tokio::test]
async fn token_is_fetched_once_and_renewed_a_minute_before_its_end() {
    let server = issuer(&[
        token("t1", 3600).set_delay(Duration::from_millis(100)),
        token("t2", 100),
    ])
    .await;
    let (clock, client) = (clock(), client_of(&server));
    let tokens = Tokens::new(clock.clone());
    let all = join_all((0..50).map(|_| had(&tokens, &client))).await;
    assert!(all.iter().all(|had| had.as_deref() == Ok("Bearer t1")), "{all:?}");
    for (later, expected, fetches) in [
        (3539, "Bearer t1", 1),
        (1, "Bearer t2", 2),
        (79, "Bearer t2", 2),
        (1, "Bearer t2", 3),
    ] {
        clock.advance(TimeDelta::seconds(later));
        assert_eq!(had(&tokens, &client).await.unwrap(), expected);
        assert_eq!(asked(&server).await, fetches);
    }
    // Another scope is another token.
    had(&tokens, &client.scopes(&["orders"])).await.unwrap();
    assert_eq!(asked(&server).await, 4);
}

#[tokio::test]
async fn token_that_cannot_be_renewed_is_used_to_its_end() {
    let server = issuer(&[token("t1", 3600), ResponseTemplate::new(503)]).await;
    let (clock, client) = (clock(), client_of(&server));
    let tokens = Tokens::new(clock.clone());
    for (later, fetches) in [(0, 1), (3550, 2), (9, 2), (1, 3)] {
        clock.advance(TimeDelta::seconds(later));
        assert_eq!(had(&tokens, &client).await.unwrap(), "Bearer t1");
        assert_eq!(asked(&server).await, fetches);
    }
    clock.advance(TimeDelta::seconds(40));
    let wrong = "no token: status 503 Service Unavailable";
    assert_eq!(had(&tokens, &client).await.unwrap_err(), wrong);
    assert_eq!(asked(&server).await, 4);
    // Who waits for the fetch that failed, or comes just after, asks no more.
    assert_eq!(had(&tokens, &client).await.unwrap_err(), wrong);
    assert_eq!(asked(&server).await, 4);
}

#[rstest]
#[case(ResponseTemplate::new(401).set_body_json(json!({"error": "invalid_client", "error_description": "s3cret"})), "status 401 Unauthorized, invalid_client")]
#[case(ResponseTemplate::new(400).set_body_json(json!({"error": "s3cret"})), "status 400 Bad Request")]
#[case(ResponseTemplate::new(307).insert_header("location", "/elsewhere"), "status 307 Temporary Redirect")]
#[case(ResponseTemplate::new(200).set_body_string("s3cret"), "found no access_token in the answer")]
#[case(ResponseTemplate::new(200).set_body_json(json!({"access_token": "s3cret", "token_type": "DPoP"})), "found a token_type other than Bearer")]
#[case(ResponseTemplate::new(200).set_body_json(json!({"access_token": "s3c\nret"})), "found no usable token")]
#[tokio::test]
async fn token_that_cannot_be_had_says_why_and_no_more(#[case] answer: ResponseTemplate, #[case] why: &str) {
    let server = issuer(&[answer]).await;
    let wrong = had(&Tokens::new(clock()), &client_of(&server)).await.unwrap_err();
    assert_eq!(wrong, format!("no token: {why}"));
}

#[rstest]
#[case(json!(3600), 3600)]
#[case(json!("3600"), 3600)]
#[case(json!(1e300), 86_400)]
#[case(json!("NaN"), 0)]
#[case(json!(-1), 0)]
#[case(json!(null), 300)]
fn token_is_good_as_long_as_it_says_a_day_at_most(#[case] expires_in: Value, #[case] seconds: i64) {
    let answer = json!({"access_token": "t1", "expires_in": expires_in});
    let (_, life) = read(answer.as_object().unwrap()).unwrap();
    assert_eq!(life.num_seconds(), seconds);
}

#[tokio::test]
async fn secret_is_shown_by_https_only_unless_private_addresses_are_called() {
    let client = ClientCredentials::of_issuer("http://id.example", "shop", SECRET);
    let wrong = Tokens::new(clock())
        .bearer(&client, &key_client().unwrap(), false)
        .await;
    let wrong = format!("{:#}", wrong.unwrap_err());
    assert_eq!(
        wrong,
        "no token: issuer: found plain http, expected https, or allow_private = true"
    );
}

#[tokio::test]
async fn missing_secret_is_named() {
    let client = ClientCredentials::new("http://127.0.0.1:9/token", "shop", "NO_SUCH_SECRET");
    let wrong = had(&Tokens::new(clock()), &client).await.unwrap_err();
    assert_eq!(
        wrong,
        "no token: found no secret in NO_SUCH_SECRET or NO_SUCH_SECRET_FILE"
    );
}

#[tokio::test]
async fn issuers_metadata_says_where_tokens_are_had() {
    let server = issuer(&[token("t1", 3600)]).await;
    let (uri, http) = (server.uri(), key_client().unwrap());
    let metadata = |named: &str| {
        ResponseTemplate::new(200).set_body_json(json!({"issuer": named, "token_endpoint": format!("{uri}/token")}))
    };
    let rightly = ClientCredentials::of_issuer(&uri, "shop", SECRET);
    Mock::given(path("/.well-known/oauth-authorization-server"))
        .respond_with(metadata(&uri))
        .mount(&server)
        .await;
    assert_eq!(had(&Tokens::new(clock()), &rightly).await.unwrap(), "Bearer t1");
    // Private addresses are refused wherever they come from.
    let wrong = Tokens::new(clock()).bearer(&rightly, &http, false).await.unwrap_err();
    assert_eq!(format!("{wrong:#}"), "no token: issuer: 127.0.0.1 is no public address");
    server.reset().await;
    Mock::given(path("/.well-known/oauth-authorization-server"))
        .respond_with(metadata("https://else.example"))
        .mount(&server)
        .await;
    let wrong = had(&Tokens::new(clock()), &rightly).await.unwrap_err();
    assert!(wrong.contains("found issuer \"https://else.example\""), "{wrong}");
}

#[tokio::test]
async fn clients_whose_tokens_are_kept_are_bounded() {
    assert_eq!(Tokens::new(clock()).places.policy().max_capacity(), Some(1_000));
}

/// A service that takes one token, and says what it was sent.
async fn resource(taken: &str) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(header("authorization", format!("Bearer {taken}").as_str()))
        .respond_with(ResponseTemplate::new(200).set_body_json("done"))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401))
        .with_priority(9)
        .mount(&server)
        .await;
    server
}

async fn posted(upstream: &Upstream, server: &MockServer) -> Result<String, Fail> {
    let request = upstream.request(reqwest::Method::POST, server.uri()).body("order 1");
    upstream.json(request).await
}

#[tokio::test]
async fn handlers_call_bears_a_token_and_is_tried_once_more_with_a_new_one() {
    let (issuer, crm) = (
        issuer(&[token("t1", 3600), token("t2", 3600)]).await,
        resource("t2").await,
    );
    let upstream = Upstream::by(clock()).unwrap().authorized_by(client_of(&issuer));
    assert_eq!(posted(&upstream, &crm).await.unwrap(), "done");
    assert_eq!(posted(&upstream, &crm).await.unwrap(), "done");
    assert_eq!(asked(&issuer).await, 2);
    let requests = crm.received_requests().await.unwrap();
    assert!(requests.iter().all(|request| request.body == b"order 1"));
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn handlers_call_that_is_refused_again_fails_as_upstream() {
    let (issuer, crm) = (issuer(&[token("t1", 3600)]).await, resource("other").await);
    let upstream = Upstream::by(clock()).unwrap().authorized_by(client_of(&issuer));
    let Err(Fail::Upstream(error)) = posted(&upstream, &crm).await else {
        panic!("it was answered")
    };
    assert_eq!(format!("{error:#}"), "upstream 127.0.0.1: status 401 Unauthorized");
    assert_eq!((asked(&issuer).await, asked(&crm).await), (2, 2));
}

#[tokio::test]
async fn handlers_call_without_a_token_is_not_made() {
    let (issuer, crm) = (issuer(&[ResponseTemplate::new(400)]).await, resource("other").await);
    let upstream = Upstream::by(clock()).unwrap().authorized_by(client_of(&issuer));
    let Err(Fail::Upstream(error)) = posted(&upstream, &crm).await else {
        panic!("it was answered")
    };
    assert_eq!(
        format!("{error:#}"),
        "upstream 127.0.0.1: no token: status 400 Bad Request"
    );
    assert_eq!(asked(&crm).await, 0);
}
