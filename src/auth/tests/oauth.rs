//! JWT access tokens of an issuer that is known by its metadata.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use rstest::rstest;
use wiremock::matchers::path;

use super::*;

const OPENID: &str = "/.well-known/openid-configuration";

/// An issuer with its metadata at `document` and its keys at `/keys`.
pub(super) async fn issuer(document: &str, metadata: Value, keys: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    answering(&server, document, &metadata).await;
    Mock::given(path("/keys")).respond_with(keys).mount(&server).await;
    server
}

/// Has `server` answer with metadata that names it; `more` wins.
pub(super) async fn answering(server: &MockServer, document: &str, more: &Value) {
    let uri = server.uri();
    let mut metadata = json!({"issuer": uri, "jwks_uri": format!("{uri}/keys")});
    for (name, value) in more.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    Mock::given(path(document))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(server)
        .await;
}

pub(super) async fn fetches_of(server: &MockServer, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path() == at).count()
}

fn with_issuer(issuer: &str, clock: &Clock) -> Auth {
    try_auth(clock, |settings| {
        settings.auth_oauth_issuer = Some(issuer.to_owned());
        settings.auth_jwt_audience = vec!["turns".to_owned()];
    })
    .unwrap()
}

/// A token of the server's, with `more` in it.
fn token_of(server: &MockServer, signer: &Signer, more: Value) -> String {
    let mut claims = claims(more);
    claims["iss"] = server.uri().into();
    signer.token(&claims)
}

fn lasting() -> Value {
    json!({"exp": NOW + 90 * 24 * 3600})
}

#[actix_web::test]
async fn token_of_the_issuer_is_proven_by_the_keys_that_its_metadata_names() {
    let server = issuer(OPENID, json!({}), key_set(&[&RSA])).await;
    let auth = with_issuer(&server.uri(), &clock());
    let calls = (0..20).map(|number| token_of(&server, &RSA, json!({"jti": number})));
    let calls: Vec<String> = calls.collect();
    let admitted = join_all(calls.iter().map(|token| bearer(&auth, token))).await;
    let caller = Caller::Jwt {
        subject: Some("bot".to_owned()),
        issuer: Some(server.uri()),
    };
    assert!(admitted.iter().all(|result| *result == Ok(caller.clone())));
    assert_eq!(
        (fetches_of(&server, OPENID).await, fetches_of(&server, "/keys").await),
        (1, 1)
    );
    for refused in [
        token_of(&server, &OTHER_RSA, json!({})),
        token_of(&server, &RSA, json!({"aud": "another"})),
        token_of(&server, &RSA, json!({"exp": NOW - 100})),
        RSA.token(&claims(json!({}))),
        format!("{}A", calls[0]),
    ] {
        assert_eq!(bearer(&auth, &refused).await, Err(Refused::Rejected));
    }
}

#[actix_web::test]
async fn access_tokens_say_their_type_or_none() {
    let server = issuer(OPENID, json!({}), key_set(&[&RSA])).await;
    let auth = with_issuer(&server.uri(), &clock());
    let mut claims = claims(json!({}));
    claims["iss"] = server.uri().into();
    for (typ, is_admitted) in [
        (Some("at+jwt"), true),
        (Some("application/at+jwt"), true),
        (Some("JWT"), true),
        (None, true),
        (Some("logout+jwt"), false),
    ] {
        let header = Header {
            typ: typ.map(str::to_owned),
            kid: Some("rsa-1".to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        let token = jsonwebtoken::encode(&header, &claims, &RSA.private).unwrap();
        assert_eq!(bearer(&auth, &token).await.is_ok(), is_admitted, "{typ:?}");
    }
}

#[rstest]
#[case::openid("/shop/.well-known/openid-configuration")]
#[case::oauth("/.well-known/oauth-authorization-server/shop")]
#[actix_web::test]
async fn metadata_is_found_by_either_document(#[case] document: &str) {
    let server = MockServer::start().await;
    let name = format!("{}/shop", server.uri());
    answering(&server, document, &json!({"issuer": name})).await;
    Mock::given(path("/keys"))
        .respond_with(key_set(&[&RSA]))
        .mount(&server)
        .await;
    let auth = with_issuer(&name, &clock());
    let token = RSA.token(&claims(json!({"iss": name})));
    assert!(bearer(&auth, &token).await.is_ok());
}

#[rstest]
#[case::another(json!({"issuer": "https://else.example"}))]
#[case::nearly_the_same(json!({"issuer": "{uri}/"}))]
#[case::none(json!({"issuer": null}))]
#[case::no_keys(json!({"jwks_uri": null}))]
#[case::keys_by_plain_http(json!({"jwks_uri": "http://keys.example/"}))]
#[actix_web::test]
async fn wrong_metadata_has_no_keys_fetched_and_nobody_admitted(#[case] metadata: Value) {
    let server = MockServer::start().await;
    let metadata = metadata.to_string().replace("{uri}", &server.uri());
    answering(&server, OPENID, &serde_json::from_str(&metadata).unwrap()).await;
    let auth = with_issuer(&server.uri(), &clock());
    let token = token_of(&server, &RSA, json!({}));
    assert_eq!(bearer(&auth, &token).await, Err(Refused::KeysUnavailable));
    assert_eq!(fetches_of(&server, "/keys").await, 0);
}

#[actix_web::test]
async fn new_key_and_new_place_of_keys_are_picked_up() {
    let server = MockServer::start().await;
    let old_place = json!({"issuer": server.uri(), "jwks_uri": format!("{}/old", server.uri())});
    let once = [
        (OPENID, ResponseTemplate::new(200).set_body_json(old_place)),
        ("/old", key_set(&[&RSA])),
    ];
    for (at, answer) in once {
        let first = Mock::given(path(at)).respond_with(answer).up_to_n_times(1);
        first.with_priority(1).mount(&server).await;
    }
    answering(&server, OPENID, &json!({})).await;
    for (at, key) in [("/old", &*OTHER_RSA), ("/keys", &*EC)] {
        Mock::given(path(at)).respond_with(key_set(&[key])).mount(&server).await;
    }
    let clock = clock();
    let auth = with_issuer(&server.uri(), &clock);
    let of = |signer| token_of(&server, signer, lasting());
    let (old, new, newest) = (of(&RSA), of(&OTHER_RSA), of(&EC));
    assert!(bearer(&auth, &old).await.is_ok());
    clock.advance(TimeDelta::seconds(10));
    assert!(bearer(&auth, &new).await.is_ok());
    // What the old key has proven is not remembered beyond the key.
    assert_eq!(bearer(&auth, &old).await, Err(Refused::Rejected));

    clock.advance(TimeDelta::hours(2));
    let moved = async {
        while bearer(&auth, &newest).await.is_err() {
            clock.advance(TimeDelta::seconds(10));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved).await.unwrap();
    assert_eq!(bearer(&auth, &new).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn issuer_that_is_away_is_asked_again_and_admits_nobody_meanwhile() {
    let server = MockServer::start().await;
    let clock = clock();
    let auth = with_issuer(&server.uri(), &clock);
    let token = token_of(&server, &RSA, json!({}));
    for _ in 0..3 {
        assert_eq!(bearer(&auth, &token).await, Err(Refused::KeysUnavailable));
    }
    assert_eq!(fetches_of(&server, OPENID).await, 1);
    answering(&server, OPENID, &json!({})).await;
    Mock::given(path("/keys"))
        .respond_with(key_set(&[&RSA]))
        .mount(&server)
        .await;
    clock.advance(TimeDelta::seconds(2));
    assert!(bearer(&auth, &token).await.is_ok());
}

#[actix_web::test]
async fn issuer_that_goes_away_is_known_for_a_day() {
    let server = issuer(OPENID, json!({}), key_set(&[&RSA])).await;
    let clock = clock();
    let auth = with_issuer(&server.uri(), &clock);
    let token = token_of(&server, &RSA, lasting());
    assert!(bearer(&auth, &token).await.is_ok());
    server.reset().await;
    clock.advance(TimeDelta::hours(24));
    assert!(bearer(&auth, &token).await.is_ok());
    clock.advance(TimeDelta::hours(2));
    assert_eq!(bearer(&auth, &token).await, Err(Refused::KeysUnavailable));
}

#[actix_web::test]
async fn scopes_count_as_for_any_jwt() {
    let server = issuer(OPENID, json!({}), key_set(&[&RSA])).await;
    let auth = try_auth(&clock(), |settings| {
        settings.auth_oauth_issuer = Some(server.uri());
        settings.auth_jwt_scopes = Some("turns events".to_owned());
    })
    .unwrap();
    let both = token_of(&server, &RSA, json!({"scope": "events other turns"}));
    let one = token_of(&server, &RSA, json!({"scope": "turns"}));
    assert!(bearer(&auth, &both).await.is_ok());
    assert_eq!(bearer(&auth, &one).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn token_that_was_proven_counts_until_it_expires_and_no_longer() {
    let clock = clock();
    let auth = try_auth(&clock, |settings| settings.auth_jwt_key = secret(&RSA.public_pem)).unwrap();
    let token = RSA.token(&claims(json!({"exp": NOW + 60})));
    assert!(bearer(&auth, &token).await.is_ok());
    clock.advance(TimeDelta::seconds(89));
    assert!(bearer(&auth, &token).await.is_ok());
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(bearer(&auth, &token).await, Err(Refused::Rejected));
    // The same claims under another signature are another token.
    let (signed, _) = token.rsplit_once('.').unwrap();
    clock.advance(TimeDelta::seconds(-90));
    assert!(bearer(&auth, &token).await.is_ok());
    assert_eq!(bearer(&auth, &format!("{signed}.AAAA")).await, Err(Refused::Rejected));
}
