//! Signed requests.

use rstest::rstest;

use super::super::signature::sign;
use super::*;

const SECRET: &str = "the first signing secret of two";
const SECOND: &str = "the second signing secret of two";
const BODY: &[u8] = br#"{"responseId":"1"}"#;

fn signed_auth() -> Auth {
    auth(|settings| settings.auth_hmac_secret = secret(&format!("{SECRET}\n{SECOND}")))
}

fn request(timestamp: &str, signature: &str) -> HeaderMap {
    headers([
        ("x-rejoinder-timestamp", timestamp),
        ("x-rejoinder-signature", signature),
    ])
}

fn signed_at(secret: &str, timestamp: i64) -> HeaderMap {
    request(&timestamp.to_string(), &sign(secret.as_bytes(), timestamp, BODY))
}

#[test]
fn signature_is_what_openssl_makes() {
    // printf '1750000000.hello' | openssl dgst -sha256 -hmac key -r
    let expected = "v1=bfe8364ebdb6154f505548195ff880503e13cb7538155d7bfa9d5de0df8d2182";
    assert_eq!(sign(b"key", 1_750_000_000, b"hello"), expected);
}

#[rstest]
#[case::now(NOW)]
#[case::five_minutes_old(NOW - 300)]
#[case::five_minutes_early(NOW + 300)]
#[actix_web::test]
async fn signature_in_the_window_is_admitted_with_either_secret(#[case] timestamp: i64) {
    for secret in [SECRET, SECOND] {
        assert_eq!(
            signed_auth().admit(&signed_at(secret, timestamp), BODY).await,
            Ok(Caller::Hmac)
        );
    }
}

#[rstest]
#[case::old(NOW - 301)]
#[case::future(NOW + 301)]
#[case::far_future(i64::MAX)]
#[case::epoch(0)]
#[actix_web::test]
async fn signature_outside_the_window_is_refused(#[case] timestamp: i64) {
    assert_eq!(
        signed_auth().admit(&signed_at(SECRET, timestamp), BODY).await,
        Err(Refused::Rejected)
    );
}

#[actix_web::test]
async fn changed_request_is_refused() {
    let (auth, right) = (signed_auth(), sign(SECRET.as_bytes(), NOW, BODY));
    let now = NOW.to_string();
    assert_eq!(
        auth.admit(&request(&now, &right), br#"{"responseId":"2"}"#).await,
        Err(Refused::Rejected)
    );
    assert_eq!(
        auth.admit(&request(&(NOW + 1).to_string(), &right), BODY).await,
        Err(Refused::Rejected)
    );
    let other = sign(b"another secret", NOW, BODY);
    let unversioned = right.trim_start_matches("v1=");
    for wrong in [
        "",
        "v1=",
        "v1=00",
        &other,
        unversioned,
        &right[..right.len() - 2],
        &format!("{right}00"),
        &format!("v0={unversioned}"),
    ] {
        assert_eq!(
            auth.admit(&request(&now, wrong), BODY).await,
            Err(Refused::Rejected),
            "{wrong:?}"
        );
    }
    for wrong in [
        "",
        " ",
        "-1",
        "+1750000000",
        "1750000000.0",
        "now",
        "99999999999999999999",
    ] {
        let signature = sign(SECRET.as_bytes(), NOW, BODY);
        assert_eq!(
            auth.admit(&request(wrong, &signature), BODY).await,
            Err(Refused::Rejected),
            "{wrong:?}"
        );
    }
    let no_timestamp = headers([("x-rejoinder-signature", right.as_str())]);
    assert_eq!(auth.admit(&no_timestamp, BODY).await, Err(Refused::Rejected));
    assert!(auth.admit(&request(&now, &right), BODY).await.is_ok());
}

#[actix_web::test]
async fn replay_is_refused() {
    let auth = signed_auth();
    assert_eq!(auth.admit(&signed_at(SECRET, NOW), BODY).await, Ok(Caller::Hmac));
    assert_eq!(auth.admit(&signed_at(SECRET, NOW), BODY).await, Err(Refused::Rejected));
    assert_eq!(auth.admit(&signed_at(SECOND, NOW), BODY).await, Err(Refused::Rejected));
    assert_eq!(auth.admit(&signed_at(SECRET, NOW + 1), BODY).await, Ok(Caller::Hmac));
}

#[actix_web::test]
async fn replay_of_one_of_two_signatures_is_refused() {
    let auth = signed_auth();
    let (first, second) = (sign(SECRET.as_bytes(), NOW, BODY), sign(SECOND.as_bytes(), NOW, BODY));
    let now = NOW.to_string();
    assert_eq!(
        auth.admit(&request(&now, &format!("{first}, {second}")), BODY).await,
        Ok(Caller::Hmac)
    );
    assert_eq!(auth.admit(&request(&now, &second), BODY).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn one_right_signature_among_others_is_enough() {
    let right = sign(SECOND.as_bytes(), NOW, BODY);
    for separator in [",", ", ", " "] {
        let header = format!("v2=00{separator}{}{separator}{right}", sign(b"retired", NOW, BODY));
        assert_eq!(
            signed_auth().admit(&request(&NOW.to_string(), &header), BODY).await,
            Ok(Caller::Hmac)
        );
    }
}

#[actix_web::test]
async fn refused_request_does_not_count_as_seen() {
    let auth = signed_auth();
    let forged = request(&NOW.to_string(), &sign(b"guess", NOW, BODY));
    assert_eq!(auth.admit(&forged, BODY).await, Err(Refused::Rejected));
    assert_eq!(auth.admit(&signed_at(SECRET, NOW), BODY).await, Ok(Caller::Hmac));
}

#[actix_web::test]
async fn body_is_needed_for_signed_requests_only() {
    let auth = signed_auth();
    assert!(auth.needs_body(&signed_at(SECRET, NOW)));
    assert!(!auth.needs_body(&headers([("authorization", "Bearer x")])));
    assert!(!Auth::open().needs_body(&signed_at(SECRET, NOW)));
}
