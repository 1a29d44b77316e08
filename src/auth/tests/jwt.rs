//! JWT bearer tokens with set keys.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rstest::rstest;

use super::*;

const SECRET: &str = "an HS256 secret of 32 bytes, at least";

fn strict() -> Auth {
    auth(|settings| {
        settings.auth_jwt_key = secret(SECRET);
        settings.auth_jwt_issuer = vec!["https://issuer.example".to_owned(), "https://second.example".to_owned()];
        settings.auth_jwt_audience = vec!["turns".to_owned(), "bots".to_owned()];
        settings.auth_jwt_scopes = Some("turns:post  turns:read".to_owned());
    })
}

#[rstest]
#[case::plain(json!({}))]
#[case::second_issuer(json!({"iss": "https://second.example"}))]
#[case::one_of_several_audiences(json!({"aud": ["else", "bots"]}))]
#[case::scp_as_a_list(json!({"scope": null, "scp": ["turns:read", "turns:post"]}))]
#[case::scp_as_a_string(json!({"scope": null, "scp": "turns:read turns:post"}))]
#[case::just_expired(json!({"exp": NOW - 29}))]
#[case::just_not_yet_valid(json!({"nbf": NOW + 30}))]
#[case::times_with_fractions(json!({"exp": NOW as f64 + 0.5, "iat": NOW as f64 - 0.5}))]
#[actix_web::test]
async fn right_token_is_admitted(#[case] more: Value) {
    let mut right = claims(json!({"scope": "other turns:post turns:read"}));
    for (name, value) in more.as_object().unwrap() {
        right[name] = value.clone();
    }
    let issuer = right["iss"].as_str().map(str::to_owned);
    let admitted = bearer(&strict(), &hs256(SECRET.as_bytes(), &right)).await;
    assert_eq!(
        admitted,
        Ok(Caller::Jwt {
            subject: Some("bot".to_owned()),
            issuer
        })
    );
}

#[rstest]
#[case::expired(json!({"exp": NOW - 30}))]
#[case::without_an_end(json!({"exp": null}))]
#[case::no_end_in_sight(json!({"exp": 1e308}))]
#[case::end_is_text(json!({"exp": "never"}))]
#[case::not_yet_valid(json!({"nbf": NOW + 31}))]
#[case::from_the_future(json!({"iat": NOW + 31}))]
#[case::wrong_audience(json!({"aud": "turn"}))]
#[case::wrong_audiences(json!({"aud": ["a", "b"]}))]
#[case::no_audience(json!({"aud": null}))]
#[case::wrong_issuer(json!({"iss": "https://issuer.example/"}))]
#[case::no_issuer(json!({"iss": null}))]
#[case::one_scope_missing(json!({"scope": "turns:post"}))]
#[case::scope_is_a_prefix(json!({"scope": "turns:post turns:readonly"}))]
#[case::no_scope(json!({"scope": null}))]
#[actix_web::test]
async fn wrong_claims_are_refused(#[case] more: Value) {
    let mut wrong = json!({"scope": "turns:post turns:read"});
    for (name, value) in more.as_object().unwrap() {
        wrong[name] = value.clone();
    }
    let token = hs256(SECRET.as_bytes(), &claims(wrong));
    assert_eq!(bearer(&strict(), &token).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn issuer_and_audience_that_are_not_set_are_not_checked() {
    let auth = auth(|settings| settings.auth_jwt_key = secret(SECRET));
    let token = hs256(SECRET.as_bytes(), &json!({"exp": NOW + 60}));
    assert_eq!(
        bearer(&auth, &token).await,
        Ok(Caller::Jwt {
            subject: None,
            issuer: None
        })
    );
}

#[actix_web::test]
async fn each_algorithm_is_admitted_with_its_own_key() {
    let auth = auth(|settings| {
        let pem_of_an_environment_file = EC.public_pem.replace('\n', "\\n");
        settings.auth_jwt_key = secret(&format!("{}\n{SECRET}\n{pem_of_an_environment_file}", RSA.public_pem));
    });
    let right = claims(json!({}));
    for token in [RSA.token(&right), EC.token(&right), hs256(SECRET.as_bytes(), &right)] {
        assert!(bearer(&auth, &token).await.is_ok());
    }
    assert_eq!(bearer(&auth, &OTHER_RSA.token(&right)).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn public_key_is_never_taken_for_a_shared_secret() {
    let auth = auth(|settings| settings.auth_jwt_key = secret(&format!("{}{}", RSA.public_pem, EC.public_pem)));
    for pem in [&RSA.public_pem, &EC.public_pem] {
        let one_line = pem.replace('\n', "");
        let body = STANDARD
            .decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
            .unwrap();
        for forged in [pem.as_bytes(), pem.trim_end().as_bytes(), one_line.as_bytes(), &body] {
            assert_eq!(
                bearer(&auth, &hs256(forged, &claims(json!({})))).await,
                Err(Refused::Rejected)
            );
        }
    }
}

#[actix_web::test]
async fn token_without_a_signature_is_refused() {
    let auth = auth(|settings| settings.auth_jwt_key = secret(&format!("{SECRET}\n{}", RSA.public_pem)));
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = part(claims(json!({})));
    for algorithm in [
        "none", "None", "NONE", "HS256", "RS256", "HS512", "PS256", "EdDSA", "ES256",
    ] {
        let head = part(json!({"alg": algorithm, "typ": "JWT"}));
        for token in [
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            format!("{head}.{body}.AAAA"),
        ] {
            assert_eq!(bearer(&auth, &token).await, Err(Refused::Rejected), "{algorithm}");
        }
    }
}

#[actix_web::test]
async fn changed_token_is_refused() {
    let auth = auth(|settings| settings.auth_jwt_key = secret(SECRET));
    let token = hs256(SECRET.as_bytes(), &claims(json!({})));
    let other = hs256(SECRET.as_bytes(), &claims(json!({"sub": "admin"})));
    let signature = token.rsplit_once('.').unwrap().1;
    let spliced = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    for wrong in [
        spliced,
        format!("{token}."),
        format!("{token}A"),
        format!(".{token}"),
        "..".to_owned(),
        "x".repeat(20_000),
    ] {
        assert_eq!(bearer(&auth, &wrong).await, Err(Refused::Rejected));
    }
    assert!(bearer(&auth, &token).await.is_ok());
}

#[actix_web::test]
async fn other_hmac_lengths_and_critical_extensions_are_refused() {
    let auth = auth(|settings| settings.auth_jwt_key = secret(SECRET));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let critical = Header {
        crit: Some(vec!["exp".to_owned()]),
        ..Header::new(Algorithm::HS256)
    };
    for header in [Header::new(Algorithm::HS384), Header::new(Algorithm::HS512), critical] {
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &key).unwrap();
        assert_eq!(bearer(&auth, &token).await, Err(Refused::Rejected));
    }
}

#[rstest]
#[case::none(None, true)]
#[case::usual(Some("JWT"), true)]
#[case::access_token(Some("application/at+JWT"), true)]
#[case::logout(Some("logout+jwt"), false)]
#[case::security_event(Some("secevent+jwt"), false)]
#[actix_web::test]
async fn token_for_something_else_than_calls_is_refused(#[case] typ: Option<&str>, #[case] is_right: bool) {
    let mut header = Header::new(Algorithm::HS256);
    header.typ = typ.map(str::to_owned);
    let claims = claims(json!({"scope": "turns:post turns:read"}));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(bearer(&strict(), &token).await.is_ok(), is_right);
    header.cty = Some("JWT".to_owned());
    let nested = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(bearer(&strict(), &nested).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn opaque_tokens_are_admitted_beside_jwts() {
    let auth = auth(|settings| {
        settings.auth_bearer = secret("opaque-token");
        settings.auth_jwt_key = secret(SECRET);
    });
    assert_eq!(bearer(&auth, "opaque-token").await, Ok(Caller::Bearer));
    assert!(
        bearer(&auth, &hs256(SECRET.as_bytes(), &claims(json!({}))))
            .await
            .is_ok()
    );
    assert_eq!(bearer(&auth, "opaque").await, Err(Refused::Rejected));
}
