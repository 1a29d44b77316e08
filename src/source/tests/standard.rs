//! Standard Webhooks, judged by its own library.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use proptest::prelude::*;
use standardwebhooks::Webhook;

use super::*;

const SECRET: &str = "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiBpdA==";
const SCHEME: &str = r#"{ kind = "standard-webhooks" }"#;

fn signed(prefix: &str, secret: &str, id: &str, at: i64, body: &str) -> Vec<(String, String)> {
    let signature = Webhook::new(secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
    vec![
        (format!("{prefix}-id"), id.to_owned()),
        (format!("{prefix}-timestamp"), at.to_string()),
        (format!("{prefix}-signature"), signature),
    ]
}

fn pairs(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[actix_web::test]
async fn what_the_library_signs_is_let_in_under_either_name() {
    for prefix in ["webhook", "svix"] {
        let headers = signed(prefix, SECRET, "msg_1", NOW, "{}");
        for (secrets, index) in [
            (SECRET.to_owned(), 0),
            (SECRET.trim_start_matches("whsec_").to_owned(), 0),
            (format!("{}\n{SECRET}", STANDARD.encode([7; 24])), 1),
        ] {
            let found = verify(&source(SCHEME, &secrets), &pairs(&headers), b"{}").await;
            assert_eq!(found, Ok(Verified { secret: index }));
        }
        for (gone, _) in &headers {
            let rest: Vec<_> = pairs(&headers).into_iter().filter(|(name, _)| name != gone).collect();
            let found = verify(&source(SCHEME, SECRET), &rest, b"{}").await;
            assert!(matches!(found, Err(Refused::Missing(_))), "{found:?}");
        }
    }
}

#[actix_web::test]
async fn one_good_signature_among_others_is_enough() {
    let source = source(SCHEME, SECRET);
    let mut headers = signed("webhook", SECRET, "msg_1", NOW, "{}");
    let good = headers[2].1.clone();
    let other = format!("v1,{}", STANDARD.encode([1; 32]));
    for (value, accepted) in [
        (format!("{other} v2,abc {good}"), true),
        (good.replace("v1,", "v2,"), false),
        (good.replace("v1,", "v1a,"), false),
        (other, false),
        ("v1,".to_owned(), false),
        (good[3..].to_owned(), false),
        (String::new(), false),
    ] {
        headers[2].1 = value;
        let found = verify(&source, &pairs(&headers), b"{}").await;
        assert_eq!(found.is_ok(), accepted, "{headers:?}: {found:?}");
    }
}

#[actix_web::test]
async fn old_signature_and_ambiguous_id_are_refused() {
    let source = source(SCHEME, SECRET);
    for at in [NOW - 301, NOW + 301] {
        let headers = signed("webhook", SECRET, "msg_1", at, "{}");
        let off_by_s = NOW - at;
        assert_eq!(
            verify(&source, &pairs(&headers), b"{}").await,
            Err(Refused::OldTimestamp { off_by_s })
        );
    }
    let headers = signed("webhook", SECRET, "msg.1", NOW, "{}");
    assert_eq!(
        verify(&source, &pairs(&headers), b"{}").await,
        Err(Refused::BadSignature)
    );
}

#[actix_web::test]
async fn signature_by_a_public_key_is_let_in() {
    let key = Ed25519KeyPair::generate().unwrap();
    let public = format!("whpk_{}", STANDARD.encode(key.public_key().as_ref()));
    let signature = key.sign(format!("msg_1.{NOW}.{{}}").as_bytes());
    let signature = format!("v1a,{}", STANDARD.encode(signature));
    let now = NOW.to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", now.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    let source = source(SCHEME, &format!("{SECRET}\n{public}"));
    assert_eq!(verify(&source, &headers, b"{}").await, Ok(Verified { secret: 1 }));
    assert_eq!(verify(&source, &headers, b"{ }").await, Err(Refused::BadSignature));
}

#[test]
fn secret_that_is_none_is_refused_and_not_shown() {
    for secret in ["whsec_!", "whsec_c2hvcnQ=", "whpk_c2hvcnQ="] {
        let error = try_source(
            "format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme.kind = \"standard-webhooks\"",
            secret,
        )
        .unwrap_err();
        assert!(error.message.starts_with("SECRET: line 1 is"), "{error}");
        assert!(!error.message.contains(&secret[6..]), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_library_takes_what_we_sign_and_we_take_what_it_signs(
        key in prop::collection::vec(any::<u8>(), 24..=64), id in "[a-zA-Z0-9_]{1,40}", body in ".{0,200}",
    ) {
        let secret = format!("whsec_{}", STANDARD.encode(key));
        // The library has no clock but the machine's.
        let now = Clock::system().now();
        let ours = source(SCHEME, &secret).sign(&id, now, body.as_bytes()).unwrap();
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in ours {
            headers.insert(name, value.parse().unwrap());
        }
        prop_assert!(Webhook::new(&secret).unwrap().verify(body.as_bytes(), &headers).is_ok());

        let theirs = signed("webhook", &secret, &id, NOW, &body);
        let found = futures_util::FutureExt::now_or_never(verify(&source(SCHEME, &secret), &pairs(&theirs), body.as_bytes()));
        prop_assert_eq!(found, Some(Ok(Verified { secret: 0 })));
    }
}
