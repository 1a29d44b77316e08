//! Senders who show a secret.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

#[actix_web::test]
async fn basic_and_bearer_admit_any_live_secret() {
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let cases = [
        (
            r#"{ kind = "basic" }"#,
            "shop:new\nshop:old",
            basic("shop:old"),
            basic("shop:other"),
        ),
        (
            r#"{ kind = "bearer" }"#,
            "new\nold",
            "bearer old".to_owned(),
            "Bearer ol".to_owned(),
        ),
    ];
    for (scheme, secrets, good, bad) in cases {
        let source = source(scheme, secrets);
        let found = verify(&source, &[("authorization", &good)], b"{}").await;
        assert_eq!(found, Ok(Verified { secret: 1 }), "{scheme}");
        let found = verify(&source, &[("authorization", &bad)], b"{}").await;
        assert_eq!(found, Err(Refused::BadSignature), "{scheme}");
        let missing = Err(Refused::Missing("authorization".to_owned()));
        assert_eq!(
            verify(&source, &[("authorization", "Digest x")], b"{}").await,
            missing,
            "{scheme}"
        );
        assert_eq!(verify(&source, &[], b"{}").await, missing, "{scheme}");
    }
}

#[actix_web::test]
async fn jwt_must_be_proven_in_force_and_for_us() {
    let old = "0123456789abcdef0123456789abcdef";
    let secrets = format!("another-secret-of-thirty-two-bytes\n{old}");
    let source = source(
        r#"{ kind = "jwt", issuer = ["https://issuer.example"], audience = ["events"] }"#,
        &secrets,
    );
    let token = |audience: &str, expires: i64| {
        let claims = json!({"iss": "https://issuer.example", "aud": audience, "exp": expires});
        let key = EncodingKey::from_secret(old.as_bytes());
        format!(
            "Bearer {}",
            jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
        )
    };
    for (authorization, expected) in [
        (token("events", NOW + 60), Ok(Verified { secret: 1 })),
        (token("events", NOW - 60), Err(Refused::OldTimestamp { off_by_s: 60 })),
        (token("turns", NOW + 60), Err(Refused::BadSignature)),
        ("Bearer a.b.c".to_owned(), Err(Refused::BadSignature)),
    ] {
        let found = verify(&source, &[("authorization", &authorization)], b"{}").await;
        assert_eq!(found, expected, "{authorization}");
    }
}

#[actix_web::test]
async fn every_notification_of_graph_must_show_the_client_state() {
    let source = source(r#"{ kind = "msgraph" }"#, "new\nold");
    let body = |states: &[&str]| {
        let items: Vec<_> = states
            .iter()
            .map(|state| json!({"clientState": state, "id": "1"}))
            .collect();
        json!({ "value": items }).to_string()
    };
    for (body, expected) in [
        (body(&["new"]), Ok(Verified { secret: 0 })),
        (body(&["new", "old"]), Ok(Verified { secret: 1 })),
        (body(&["new", "other"]), Err(Refused::BadSignature)),
        (body(&[]), Err(Refused::Missing("clientState".to_owned()))),
        (
            r#"{"value": [{"id": 1}]}"#.to_owned(),
            Err(Refused::Missing("clientState".to_owned())),
        ),
        ("not JSON".to_owned(), Err(Refused::Missing("clientState".to_owned()))),
    ] {
        assert_eq!(verify(&source, &[], body.as_bytes()).await, expected, "{body}");
    }
}
