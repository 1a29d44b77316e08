//! Opaque access tokens, which their issuer is asked about.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use rstest::rstest;
use tokio::net::TcpListener;
use wiremock::matchers::{body_string_contains, header, path};

use super::oauth::{answering, fetches_of, issuer};
use super::*;

const OPENID: &str = "/.well-known/openid-configuration";
const ASKED: &str = "/introspect";

/// Asks `server` as the client `rejoinder`; other settings by `set`.
fn asking(server: &MockServer, clock: &Clock, set: impl FnOnce(&mut AuthSettings)) -> Auth {
    asking_at(&server.uri(), clock, set)
}

fn asking_at(server: &str, clock: &Clock, set: impl FnOnce(&mut AuthSettings)) -> Auth {
    try_auth(clock, |settings| {
        settings.auth_oauth_introspection_url = Some(format!("{server}{ASKED}"));
        settings.auth_oauth_client_id = Some("rejoinder".to_owned());
        settings.auth_oauth_client_secret = secret("s3cr t");
        settings.auth_jwt_audience = vec!["turns".to_owned()];
        set(settings);
    })
    .unwrap()
}

/// What the issuer says of a token that is good for an hour, with `more` in it.
fn active(more: Value) -> ResponseTemplate {
    let mut answer = claims(more);
    if answer.get("active").is_none() {
        answer["active"] = true.into();
    }
    ResponseTemplate::new(200).set_body_json(answer)
}

async fn saying(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path(ASKED)).respond_with(answer).mount(&server).await;
    server
}

#[actix_web::test]
async fn active_token_is_admitted_and_asked_about_as_the_client() {
    let server = MockServer::start().await;
    Mock::given(path(ASKED))
        .and(header(
            "authorization",
            format!("Basic {}", STANDARD.encode("rejoinder:s3cr+t")),
        ))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string_contains("token=opaque%2F1&token_type_hint=access_token"))
        .respond_with(active(json!({"client_id": "shop", "token_type": "Bearer"})))
        .mount(&server)
        .await;
    let auth = asking(&server, &clock(), |_| {});
    let caller = Caller::Introspected {
        subject: Some("bot".to_owned()),
        client: Some("shop".to_owned()),
    };
    assert_eq!(bearer(&auth, "opaque/1").await, Ok(caller));
    assert_eq!(bearer(&auth, "opaque/2").await, Err(Refused::KeysUnavailable));
    for never_asked in ["two words", "ä", ""] {
        assert_eq!(bearer(&auth, never_asked).await.ok(), None);
    }
    assert_eq!(fetches(&server).await, 2);
}

#[rstest]
#[case::inactive(json!({"active": false}))]
#[case::active_in_words(json!({"active": "true"}))]
#[case::expired(json!({"exp": NOW - 100}))]
#[case::not_yet(json!({"nbf": NOW + 100}))]
#[case::another_audience(json!({"aud": ["another"]}))]
#[case::no_audience(json!({"aud": null}))]
#[case::another_issuer(json!({"iss": "https://else.example"}))]
#[case::no_scope(json!({"scope": "events"}))]
#[case::refresh_token(json!({"token_type": "refresh_token"}))]
#[case::bound_to_a_key(json!({"token_type": "DPoP"}))]
#[actix_web::test]
async fn token_that_is_not_as_expected_is_refused(#[case] wrong: Value) {
    let mut more = json!({"scope": "turns other"});
    for (name, value) in wrong.as_object().unwrap() {
        more[name] = value.clone();
    }
    let set = |settings: &mut AuthSettings| {
        settings.auth_jwt_issuer = vec!["https://issuer.example".to_owned()];
        settings.auth_jwt_scopes = Some("turns".to_owned());
    };
    let server = saying(active(more)).await;
    let auth = asking(&server, &clock(), set);
    for _ in 0..3 {
        assert_eq!(bearer(&auth, "opaque").await, Err(Refused::Rejected));
    }
    assert_eq!(fetches(&server).await, 1);
    let good = saying(active(json!({"scope": "turns", "iss": null, "exp": null, "iat": null}))).await;
    assert!(bearer(&asking(&good, &clock(), set), "opaque").await.is_ok());
}

#[actix_web::test]
async fn good_word_counts_for_a_minute_and_a_bad_one_for_five_seconds() {
    let server = server(active(json!({})), active(json!({"active": false}))).await;
    let clock = clock();
    let auth = asking(&server, &clock, |_| {});
    for (later, is_admitted, asked) in [(0, true, 1), (59, true, 1), (1, false, 2), (4, false, 2), (1, false, 3)] {
        clock.advance(TimeDelta::seconds(later));
        assert_eq!(bearer(&auth, "opaque").await.is_ok(), is_admitted);
        assert_eq!(fetches(&server).await, asked);
    }
}

#[actix_web::test]
async fn good_word_counts_no_longer_than_the_token() {
    let server = server(active(json!({"exp": NOW + 10})), active(json!({"active": false}))).await;
    let clock = clock();
    let auth = asking(&server, &clock, |_| {});
    assert!(bearer(&auth, "opaque").await.is_ok());
    clock.advance(TimeDelta::seconds(9));
    assert!(bearer(&auth, "opaque").await.is_ok());
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(bearer(&auth, "opaque").await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn token_that_many_show_is_asked_about_once() {
    let server = saying(active(json!({})).set_delay(Duration::from_millis(200))).await;
    let auth = asking(&server, &clock(), |_| {});
    let calls = (0..50).map(|number| bearer(&auth, if number % 2 == 0 { "one" } else { "other" }));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(fetches(&server).await, 2);
}

#[actix_web::test]
async fn verdicts_that_are_remembered_are_bounded() {
    let server = saying(active(json!({}))).await;
    let auth = asking(&server, &clock(), |_| {});
    let verdicts = &auth.introspection.as_ref().unwrap().verdicts;
    assert_eq!(verdicts.policy().max_capacity(), Some(10_000));
    assert_eq!(verdicts.policy().time_to_live(), Some(Duration::from_secs(60)));
}

#[rstest]
#[case::broken(ResponseTemplate::new(500))]
#[case::client_refused(ResponseTemplate::new(401))]
#[case::moved(ResponseTemplate::new(302).insert_header("location", "/elsewhere"))]
#[case::no_json(ResponseTemplate::new(200).set_body_string("<html>"))]
#[case::unreadable(ResponseTemplate::new(200).set_body_json(json!({"active": true, "exp": "soon"})))]
#[actix_web::test]
async fn issuer_that_does_not_answer_rightly_admits_nobody(#[case] wrong: ResponseTemplate) {
    let server = server(wrong, active(json!({}))).await;
    let clock = clock();
    let auth = asking(&server, &clock, |_| {});
    for _ in 0..3 {
        assert_eq!(bearer(&auth, "opaque").await, Err(Refused::KeysUnavailable));
    }
    assert_eq!(fetches(&server).await, 1);
    clock.advance(TimeDelta::seconds(2));
    assert!(bearer(&auth, "opaque").await.is_ok());
}

#[actix_web::test]
async fn issuer_that_hangs_costs_two_seconds_at_most() {
    // The system takes its connections, and nobody answers them.
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = asking_at(&format!("http://{}", server.local_addr().unwrap()), &clock(), |_| {});
    let tokens: Vec<String> = (0..100).map(|number| format!("opaque-{number}")).collect();
    let began = Instant::now();
    let results = join_all(tokens.iter().map(|token| bearer(&auth, token))).await;
    assert!(results.iter().all(|result| *result == Err(Refused::KeysUnavailable)));
    // Not so many one after the other: beside each other, with what a busy machine takes.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[actix_web::test]
async fn endpoint_is_the_one_of_the_metadata_and_jwts_of_the_issuer_are_not_asked_about() {
    let server = MockServer::start().await;
    let place = format!("{}{ASKED}", server.uri());
    answering(&server, OPENID, &json!({"introspection_endpoint": place})).await;
    Mock::given(path("/keys"))
        .respond_with(key_set(&[&RSA]))
        .mount(&server)
        .await;
    Mock::given(path(ASKED))
        .respond_with(active(json!({"iss": null})))
        .mount(&server)
        .await;
    let clock = clock();
    let auth = asking(&server, &clock, |settings| {
        settings.auth_oauth_introspection_url = None;
        settings.auth_oauth_issuer = Some(server.uri());
    });
    let of_issuer = |signer: &Signer, more| {
        let mut claims = claims(more);
        claims["iss"] = server.uri().into();
        signer.token(&claims)
    };
    assert!(bearer(&auth, &of_issuer(&RSA, json!({}))).await.is_ok());
    for forged in [
        of_issuer(&OTHER_RSA, json!({})),
        of_issuer(&RSA, json!({"aud": "another"})),
    ] {
        assert_eq!(bearer(&auth, &forged).await, Err(Refused::Rejected));
    }
    assert_eq!(fetches_of(&server, ASKED).await, 0);
    assert!(bearer(&auth, "opaque").await.is_ok());
    assert_eq!(
        (fetches_of(&server, ASKED).await, fetches_of(&server, OPENID).await),
        (1, 1)
    );
}

#[actix_web::test]
async fn issuer_without_an_endpoint_admits_no_opaque_token() {
    let server = issuer(OPENID, json!({}), key_set(&[&RSA])).await;
    let auth = asking(&server, &clock(), |settings| {
        settings.auth_oauth_introspection_url = None;
        settings.auth_oauth_issuer = Some(server.uri());
    });
    assert_eq!(bearer(&auth, "opaque").await, Err(Refused::KeysUnavailable));
}

#[actix_web::test]
async fn client_secret_is_read_again_when_its_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "old\n").unwrap();
    let server = MockServer::start().await;
    Mock::given(header(
        "authorization",
        format!("Basic {}", STANDARD.encode("rejoinder:new")),
    ))
    .respond_with(active(json!({})))
    .mount(&server)
    .await;
    let clock = clock();
    let auth = asking(&server, &clock, |settings| {
        settings.auth_oauth_client_secret = None;
        settings.auth_oauth_client_secret_file = Some(file.clone());
    });
    assert_eq!(bearer(&auth, "opaque").await, Err(Refused::KeysUnavailable));
    std::fs::write(&file, "new\n").unwrap();
    auth.reload();
    clock.advance(TimeDelta::seconds(2));
    assert!(bearer(&auth, "opaque").await.is_ok());
}

#[actix_web::test]
async fn stream_of_a_token_that_was_revoked_is_ended() {
    let server = server(active(json!({})), active(json!({"active": false}))).await;
    let clock = clock();
    let auth = asking(&server, &clock, |_| {});
    let shown = headers([(AUTHORIZATION.as_str(), "Bearer opaque")]);
    assert!(auth.admit(&shown, b"").await.is_ok());
    assert!(auth.still_admits(&shown).await);
    clock.advance(TimeDelta::seconds(60));
    assert!(!auth.still_admits(&shown).await);
}
