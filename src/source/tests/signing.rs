//! Every scheme of signatures: what is signed is let in, and nothing else.

use proptest::prelude::*;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use super::*;

const BODY: &str = r#"{"id": "evt_1", "total": 1.10}"#;

/// A scheme, and a request signed by it with the secret `s3cret`.
struct Case {
    scheme: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Case {
    fn pairs(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

fn signed(scheme: &str, at: i64) -> Case {
    let ts = at.to_string();
    let hex = |message: String| hex_mac("s3cret", &message);
    let base64 = |message: String| base64_mac("s3cret", &message);
    match scheme {
        "stripe" => Case {
            scheme: r#"{ kind = "stripe" }"#,
            headers: vec![("stripe-signature", format!("t={ts},v1={}", hex(format!("{ts}.{BODY}"))))],
        },
        "github" => Case {
            scheme: r#"{ kind = "github" }"#,
            headers: vec![("x-hub-signature-256", format!("sha256={}", hex(BODY.to_owned())))],
        },
        "meta" => Case {
            scheme: r#"{ kind = "meta" }"#,
            headers: vec![("x-hub-signature-256", format!("sha256={}", hex(BODY.to_owned())))],
        },
        "shopify" => Case {
            scheme: r#"{ kind = "shopify" }"#,
            headers: vec![("x-shopify-hmac-sha256", base64(BODY.to_owned()))],
        },
        "slack" => Case {
            scheme: r#"{ kind = "slack" }"#,
            headers: vec![
                ("x-slack-signature", format!("v0={}", hex(format!("v0:{ts}:{BODY}")))),
                ("x-slack-request-timestamp", ts),
            ],
        },
        "zoom" => Case {
            scheme: r#"{ kind = "zoom" }"#,
            headers: vec![
                ("x-zm-signature", format!("v0={}", hex(format!("v0:{ts}:{BODY}")))),
                ("x-zm-request-timestamp", ts),
            ],
        },
        "square" => Case {
            scheme: r#"{ kind = "square", url_env = "URL" }"#,
            headers: vec![(
                "x-square-hmacsha256-signature",
                base64(format!("https://bot.example/events/shop{BODY}")),
            )],
        },
        "hmac" => {
            let mut mac = Hmac::<Sha512>::new_from_slice(b"s3cret").unwrap();
            mac.update(format!("42/{ts}/{BODY}").as_bytes());
            Case {
                scheme: r#"{ kind = "hmac", header = "X-Sign", prefix = "s=", encoding = "base64", algorithm = "sha512", signed = "{x-id}/{timestamp}/{body}", timestamp = { header = "X-Time" } }"#,
                headers: vec![
                    ("x-sign", format!("s={}", STANDARD.encode(mac.finalize().into_bytes()))),
                    ("x-time", ts),
                    ("x-id", "42".to_owned()),
                ],
            }
        }
        other => panic!("no scheme {other}"),
    }
}

const SCHEMES: [&str; 8] = ["stripe", "github", "meta", "shopify", "slack", "zoom", "square", "hmac"];
const TIMED: [&str; 4] = ["stripe", "slack", "zoom", "hmac"];

#[actix_web::test]
async fn signed_request_is_let_in_by_the_current_and_by_the_old_secret() {
    for name in SCHEMES {
        let case = signed(name, NOW);
        for (secrets, index) in [("s3cret", 0), ("new\ns3cret", 1), ("newer\nnew\ns3cret\ns3cret", 2)] {
            let found = verify(&source(case.scheme, secrets), &case.pairs(), BODY.as_bytes()).await;
            assert_eq!(found, Ok(Verified { secret: index }), "{name}");
        }
        let other = source(case.scheme, "another");
        assert_eq!(
            verify(&other, &case.pairs(), BODY.as_bytes()).await,
            Err(Refused::BadSignature)
        );
    }
}

#[actix_web::test]
async fn missing_header_is_refused_and_named() {
    for name in SCHEMES {
        let case = signed(name, NOW);
        let source = source(case.scheme, "s3cret");
        for (gone, _) in &case.headers {
            let rest: Vec<_> = case.pairs().into_iter().filter(|(name, _)| name != gone).collect();
            let found = verify(&source, &rest, BODY.as_bytes()).await;
            assert_eq!(found, Err(Refused::Missing((*gone).to_owned())), "{name}");
        }
    }
}

#[actix_web::test]
async fn time_of_signing_counts_for_five_minutes_both_ways() {
    for name in TIMED {
        for (at, off_by) in [
            (NOW - 300, None),
            (NOW + 300, None),
            (NOW - 301, Some(301)),
            (NOW + 301, Some(-301)),
        ] {
            let case = signed(name, at);
            let found = verify(&source(case.scheme, "s3cret"), &case.pairs(), BODY.as_bytes()).await;
            match off_by {
                None => assert_eq!(found, Ok(Verified { secret: 0 }), "{name} {at}"),
                Some(off_by_s) => assert_eq!(found, Err(Refused::OldTimestamp { off_by_s }), "{name} {at}"),
            }
        }
    }
}

#[actix_web::test]
async fn any_of_several_signatures_counts_and_of_the_stated_version_only() {
    let source = source(r#"{ kind = "stripe" }"#, "s3cret");
    let good = hex_mac("s3cret", &format!("{NOW}.{BODY}"));
    let bad = "00".repeat(32);
    for (header, accepted) in [
        (format!("t={NOW},v1={bad},v1={good}"), true),
        (format!("t={NOW},v1={good},v1=zz,v0={bad}"), true),
        (format!("t={NOW}, v1={good}"), true),
        (format!("t={NOW},v0={good}"), false),
        (format!("t={NOW},v1={}", &good[..62]), false),
        (format!("t={NOW},v1="), false),
        (format!("t={NOW}"), false),
        (
            format!("t={NOW}{}", format!(",v1={bad}").repeat(8) + ",v1=" + &good),
            false,
        ),
    ] {
        let found = verify(&source, &[("stripe-signature", &header)], BODY.as_bytes()).await;
        assert_eq!(found.is_ok(), accepted, "{header}: {found:?}");
    }
    for timestamp in ["", "t=,", "t=-1,", "t=1e3,", "t=99999999999999999999,"] {
        let header = format!("{timestamp}v1={good}");
        let found = verify(&source, &[("stripe-signature", &header)], BODY.as_bytes()).await;
        assert!(
            matches!(found, Err(Refused::Missing(_) | Refused::BadTimestamp)),
            "{header}: {found:?}"
        );
    }
}

#[actix_web::test]
async fn documented_vector_of_github_is_let_in() {
    let source = source(r#"{ kind = "github" }"#, "It's a Secret to Everybody");
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let found = verify(&source, &[("x-hub-signature-256", signature)], b"Hello, World!").await;
    assert_eq!(found, Ok(Verified { secret: 0 }));
}

fn sha1_mac(message: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(b"s3cret").unwrap();
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[actix_web::test]
async fn twilio_signs_the_address_and_the_sorted_fields() {
    let source = source(r#"{ kind = "twilio", url_env = "URL" }"#, "s3cret");
    let form = ("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
    let body = b"To=%2B2&Body=a+b&Digits=9&Digits=1&Digits=9&From=%2B1";
    let fields = "Bodya bDigits1Digits9From+1To+2";
    for (address, query) in [
        ("https://bot.example/events/shop", ""),
        ("https://bot.example:443/events/shop", ""),
        ("https://bot.example/events/shop?a=1&b=%20", "a=1&b=%20"),
    ] {
        let signature = sha1_mac(&format!("{address}{fields}"));
        let pairs = [("x-twilio-signature", signature.as_str()), form];
        assert_eq!(
            verify_at(&source, query, &pairs, body).await,
            Ok(Verified { secret: 0 }),
            "{address}"
        );
        let changed = b"To=%2B2&Body=a+b&Digits=9&Digits=1&From=%2B3";
        assert_eq!(
            verify_at(&source, query, &pairs, changed).await,
            Err(Refused::BadSignature)
        );
        assert_eq!(
            verify_at(&source, "c=3", &pairs, body).await,
            Err(Refused::BadSignature)
        );
        assert_eq!(
            verify_at(&source, query, &pairs[..1], body).await,
            Err(Refused::BadSignature)
        );
    }
    assert_eq!(
        verify(&source, &[form], body).await,
        Err(Refused::Missing("x-twilio-signature".to_owned()))
    );
}

#[actix_web::test]
async fn twilio_signs_other_bodies_by_their_digest_in_the_address() {
    let source = source(r#"{ kind = "twilio", url_env = "URL" }"#, "s3cret");
    let query = format!("bodySHA256={}", hex::encode(Sha256::digest(BODY)));
    let signature = sha1_mac(&format!("https://bot.example/events/shop?{query}"));
    let pairs = [
        ("x-twilio-signature", signature.as_str()),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        verify_at(&source, &query, &pairs, BODY.as_bytes()).await,
        Ok(Verified { secret: 0 })
    );
    assert_eq!(
        verify_at(&source, &query, &pairs, b"{}").await,
        Err(Refused::BadSignature)
    );
    let of_the_address = sha1_mac("https://bot.example/events/shop");
    let pairs = [
        ("x-twilio-signature", of_the_address.as_str()),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        verify(&source, &pairs, BODY.as_bytes()).await,
        Err(Refused::BadSignature)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_flipped_bit_is_refused(scheme in 0..SCHEMES.len(), at in any::<prop::sample::Index>(), bit in 0..8u32, place in 0..4usize) {
        let case = signed(SCHEMES[scheme], NOW);
        let source = source(case.scheme, "s3cret");
        let mut body = BODY.as_bytes().to_vec();
        let mut headers = case.headers.clone();
        if place < headers.len() {
            let mut value = headers[place].1.clone().into_bytes();
            let at = at.index(value.len());
            value[at] ^= 1 << (bit % 7);
            let Ok(value) = String::from_utf8(value) else { return Ok(()) };
            // A digit of hex may be of either case, and not every byte may stand in a header.
            let same = value.eq_ignore_ascii_case(&headers[place].1);
            if same || value.bytes().any(|byte| byte.is_ascii_control()) {
                return Ok(());
            }
            headers[place].1 = value;
        } else {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = futures_util::FutureExt::now_or_never(verify(&source, &pairs, &body)).unwrap();
        prop_assert!(found.is_err(), "{pairs:?}");
    }
}
