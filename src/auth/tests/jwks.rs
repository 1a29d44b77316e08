//! Keys that an issuer publishes.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::*;

fn with_keys_of(server: &MockServer, clock: &Clock) -> Auth {
    try_auth(clock, |settings| settings.auth_jwt_jwks_url = Some(server.uri())).unwrap()
}

fn lasting() -> Value {
    claims(json!({"exp": NOW + 90 * 24 * 3600}))
}

#[actix_web::test]
async fn published_keys_are_fetched_once_for_many_calls() {
    let server = server(key_set(&[&RSA, &EC]), key_set(&[])).await;
    let auth = with_keys_of(&server, &clock());
    let (rsa, ec) = (RSA.token(&lasting()), EC.token(&lasting()));
    let calls = (0..20).flat_map(|_| [bearer(&auth, &rsa), bearer(&auth, &ec)]);
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(
        bearer(&auth, &OTHER_RSA.token_as(Some("rsa-1"), &lasting())).await,
        Err(Refused::Rejected)
    );
    assert_eq!(fetches(&server).await, 1);
}

#[actix_web::test]
async fn token_without_a_key_id_is_tried_with_every_key() {
    let server = server(key_set(&[&OTHER_RSA, &EC, &RSA]), key_set(&[])).await;
    let auth = with_keys_of(&server, &clock());
    assert!(bearer(&auth, &RSA.token_as(None, &lasting())).await.is_ok());
}

#[actix_web::test]
async fn keys_without_an_id_are_tried_with_every_token() {
    let mut jwk = RSA.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let keys = ResponseTemplate::new(200).set_body_json(json!({"keys": [{"kty": "new", "x": 1}, EC.jwk(), jwk]}));
    let server = server(keys.clone(), keys).await;
    let auth = with_keys_of(&server, &clock());
    assert!(bearer(&auth, &RSA.token_as(Some("whatever"), &lasting())).await.is_ok());
}

#[actix_web::test]
async fn new_key_is_picked_up_when_a_token_names_it() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA, &OTHER_RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    clock.advance(TimeDelta::seconds(10));
    assert!(bearer(&auth, &OTHER_RSA.token(&lasting())).await.is_ok());
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    assert_eq!(fetches(&server).await, 2);
}

#[actix_web::test]
async fn key_asked_for_too_soon_is_not_held_for_unknown() {
    let server = server(key_set(&[&RSA]), key_set(&[&OTHER_RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert_eq!(
        bearer(&auth, &OTHER_RSA.token(&lasting())).await,
        Err(Refused::Rejected)
    );
    assert_eq!(fetches(&server).await, 1);
    clock.advance(TimeDelta::seconds(10));
    assert!(bearer(&auth, &OTHER_RSA.token(&lasting())).await.is_ok());
}

#[actix_web::test]
async fn storm_of_unknown_key_ids_costs_one_fetch() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    clock.advance(TimeDelta::seconds(10));
    let storm: Vec<String> = (0..100)
        .map(|number| OTHER_RSA.token_as(Some(&format!("kid-{number}")), &lasting()))
        .collect();
    let refused =
        |results: Vec<Result<Caller, Refused>>| results.iter().all(|result| *result == Err(Refused::Rejected));
    assert!(refused(join_all(storm.iter().map(|token| bearer(&auth, token))).await));
    assert_eq!(fetches(&server).await, 2);
    clock.advance(TimeDelta::seconds(9));
    assert!(refused(join_all(storm.iter().map(|token| bearer(&auth, token))).await));
    assert_eq!(fetches(&server).await, 2);
}

#[actix_web::test]
async fn unknown_key_id_is_remembered_for_a_minute() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    let unknown = OTHER_RSA.token(&lasting());
    for (later, expected) in [(10, 2), (20, 2), (39, 2), (1, 3)] {
        clock.advance(TimeDelta::seconds(later));
        assert_eq!(bearer(&auth, &unknown).await, Err(Refused::Rejected));
        assert_eq!(fetches(&server).await, expected);
    }
}

#[actix_web::test]
async fn outage_keeps_the_old_keys_for_a_day() {
    let server = server(key_set(&[&RSA]), ResponseTemplate::new(500)).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    for hours in [2, 10, 12] {
        clock.advance(TimeDelta::hours(hours));
        assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    }
    clock.advance(TimeDelta::hours(1));
    assert_eq!(
        bearer(&auth, &RSA.token(&lasting())).await,
        Err(Refused::KeysUnavailable)
    );
}

#[actix_web::test]
async fn old_keys_serve_while_new_ones_are_fetched() {
    let keys = key_set(&[&RSA])
        .insert_header("cache-control", "public, max-age=7000")
        .insert_header("age", "5000");
    let server = server(keys, key_set(&[&OTHER_RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    clock.advance(TimeDelta::seconds(1999));
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    assert_eq!(fetches(&server).await, 1);

    clock.advance(TimeDelta::seconds(1));
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    let second_fetch = async {
        while fetches(&server).await < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), second_fetch)
        .await
        .unwrap();
    assert!(bearer(&auth, &OTHER_RSA.token(&lasting())).await.is_ok());
    assert_eq!(bearer(&auth, &RSA.token(&lasting())).await, Err(Refused::Rejected));
    assert_eq!(fetches(&server).await, 2);
}

#[actix_web::test]
async fn keys_that_cannot_be_fetched_are_asked_for_again() {
    let server = server(ResponseTemplate::new(503), key_set(&[&RSA])).await;
    let clock = clock();
    let auth = with_keys_of(&server, &clock);
    assert_eq!(
        bearer(&auth, &RSA.token(&lasting())).await,
        Err(Refused::KeysUnavailable)
    );
    clock.advance(TimeDelta::seconds(2));
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
}

#[actix_web::test]
async fn hanging_key_server_costs_a_call_two_seconds_at_most() {
    let slow = key_set(&[&RSA]).set_delay(Duration::from_secs(30));
    let server = server(slow.clone(), slow).await;
    let auth = with_keys_of(&server, &clock());
    let token = RSA.token(&lasting());
    let began = Instant::now();
    let results = join_all((0..10).map(|_| bearer(&auth, &token))).await;
    assert!(results.iter().all(|result| *result == Err(Refused::KeysUnavailable)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[actix_web::test]
async fn unusable_key_sets_are_not_taken() {
    let encryption = {
        let mut jwk = RSA.jwk();
        jwk["use"] = json!("enc");
        json!({"keys": [jwk, {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"}]}).to_string()
    };
    let padded = format!("{}{}", json!({"keys": [RSA.jwk()]}), " ".repeat(256 * 1024));
    for body in ["{\"keys\":[]}", "[]", "<html>", &encryption, &padded] {
        let reply = ResponseTemplate::new(200).set_body_string(body);
        let server = server(reply.clone(), reply).await;
        let auth = with_keys_of(&server, &clock());
        assert_eq!(
            bearer(&auth, &RSA.token(&lasting())).await,
            Err(Refused::KeysUnavailable)
        );
    }
}

#[actix_web::test]
async fn keys_are_taken_from_the_address_that_is_set_and_from_none_that_it_points_to() {
    let elsewhere = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let moved = || ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    let server = server(moved(), moved()).await;
    let auth = with_keys_of(&server, &clock());
    assert_eq!(
        bearer(&auth, &RSA.token(&lasting())).await,
        Err(Refused::KeysUnavailable)
    );
    assert_eq!(fetches(&elsewhere).await, 0);
}

#[actix_web::test]
async fn token_of_another_issuer_has_no_keys_fetched() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let clock = clock();
    let auth = try_auth(&clock, |settings| {
        settings.auth_jwt_jwks_url = Some(server.uri());
        settings.auth_jwt_issuer = vec!["https://issuer.example".to_owned()];
    })
    .unwrap();
    assert!(bearer(&auth, &RSA.token(&lasting())).await.is_ok());
    clock.advance(TimeDelta::seconds(10));
    let foreign = OTHER_RSA.token(&claims(json!({"iss": "https://else.example"})));
    assert_eq!(bearer(&auth, &foreign).await, Err(Refused::Rejected));
    assert_eq!(fetches(&server).await, 1);
}

#[actix_web::test]
async fn published_public_key_is_never_taken_for_a_shared_secret() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let auth = with_keys_of(&server, &clock());
    let forged = hs256(RSA.public_pem.as_bytes(), &lasting());
    assert_eq!(bearer(&auth, &forged).await, Err(Refused::Rejected));
}
