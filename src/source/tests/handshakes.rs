//! Every handshake: who is answered what, before the first event.

use serde_json::{Value, json};

use super::super::HandshakeStatus;
use super::*;

fn asking(scheme: &str, handshake: &str) -> Arc<Source> {
    let file = format!("format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme = {scheme}\nhandshake = {handshake}\n");
    try_source(&file, "s3cret").unwrap()
}

fn header<'a>(answer: &'a Handshake, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(found, _)| *found == name);
    found.map(|(_, value)| value.as_str())
}

fn assert_is_no_page(answer: &Handshake) {
    assert_eq!(answer.status, HandshakeStatus::Ok);
    assert_eq!(header(answer, "content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(header(answer, "x-content-type-options"), Some("nosniff"));
}

#[actix_web::test]
async fn slack_is_given_its_challenge_when_it_has_signed() {
    let source = asking(r#"{ kind = "slack" }"#, r#"{ kind = "slack" }"#);
    let body = r#"{"token": "t", "challenge": "<b>3eZ", "type": "url_verification"}"#;
    let signature = format!("v0={}", hex_mac("s3cret", &format!("v0:{NOW}:{body}")));
    let now = NOW.to_string();
    let pairs = [
        ("x-slack-signature", signature.as_str()),
        ("x-slack-request-timestamp", now.as_str()),
    ];
    let answer = ask(&source, "POST", "", &pairs, body.as_bytes()).await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(answer.body, "<b>3eZ");
    assert_is_no_page(&answer);

    let unsigned = ask(&source, "POST", "", &pairs[1..], body.as_bytes()).await;
    assert_eq!(unsigned, Err(Refused::Missing("x-slack-signature".to_owned())));
    let wrong = [("x-slack-signature", "v0=00"), pairs[1]];
    let wrong = ask(&source, "POST", "", &wrong, body.as_bytes()).await;
    assert_eq!(wrong, Err(Refused::BadSignature));
    let event = ask(
        &source,
        "POST",
        "",
        &[],
        br#"{"type": "event_callback", "challenge": "x"}"#,
    )
    .await;
    assert_eq!(event, Ok(None));
}

#[actix_web::test]
async fn zoom_is_given_proof_by_the_secret_that_it_has_signed_with() {
    let file = "format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme.kind = \"zoom\"\nhandshake.kind = \"zoom\"\n";
    let source = try_source(file, "new\nold").unwrap();
    let body = r#"{"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlv"}}"#;
    let signature = format!("v0={}", hex_mac("old", &format!("v0:{NOW}:{body}")));
    let now = NOW.to_string();
    let pairs = [
        ("x-zm-signature", signature.as_str()),
        ("x-zm-request-timestamp", now.as_str()),
    ];
    let answer = ask(&source, "POST", "", &pairs, body.as_bytes()).await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&answer.body).unwrap(),
        json!({"plainToken": "qgg8vlv", "encryptedToken": hex_mac("old", "qgg8vlv")})
    );
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let unsigned = ask(&source, "POST", "", &[], body.as_bytes()).await;
    assert!(matches!(unsigned, Err(Refused::Missing(_))), "{unsigned:?}");
}

#[actix_web::test]
async fn meta_is_given_its_challenge_when_it_knows_the_token() {
    let source = asking(r#"{ kind = "meta" }"#, r#"{ kind = "meta", token_env = "TOKEN" }"#);
    let query = |token: &str| format!("hub.mode=subscribe&hub.challenge=11%3C58&hub.verify_token={token}");
    let answer = ask(&source, "GET", &query("verify-me"), &[], b"").await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(answer.body, "11<58");
    assert_is_no_page(&answer);

    for token in ["verify-m", "", "other"] {
        let answer = ask(&source, "GET", &query(token), &[], b"").await;
        let answer = answer.unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (HandshakeStatus::Forbidden, ""));
    }
    assert_eq!(ask(&source, "GET", "", &[], b"").await, Ok(None));
    assert_eq!(ask(&source, "POST", &query("verify-me"), &[], b"{}").await, Ok(None));
}

#[actix_web::test]
async fn graph_is_given_its_token_decoded() {
    let source = asking(r#"{ kind = "msgraph" }"#, r#"{ kind = "msgraph" }"#);
    let query = "validationToken=Validation%3A+%3Cscript%3E%20it";
    let answer = ask(&source, "POST", query, &[], b"").await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(answer.body, "Validation: <script> it");
    assert_is_no_page(&answer);
    assert_eq!(ask(&source, "POST", "", &[], b"{}").await, Ok(None));
    assert_eq!(ask(&source, "GET", query, &[], b"").await, Ok(None));
    let long = format!("validationToken={}", "x".repeat(5000));
    assert_eq!(ask(&source, "POST", &long, &[], b"").await, Ok(None));
}

#[actix_web::test]
async fn sender_of_cloudevents_is_told_that_it_is_welcome() {
    let source = asking(
        r#"{ kind = "bearer" }"#,
        r#"{ kind = "cloudevents", origins = ["EventEmitter.example.com"] }"#,
    );
    let origin = ("webhook-request-origin", "eventemitter.example.com");
    let other = ("webhook-request-origin", "elsewhere.example.com");
    let stranger = ask(&source, "OPTIONS", "", &[other], b"").await;
    assert!(matches!(stranger, Err(Refused::Missing(_))), "{stranger:?}");
    let guessed = ask(&source, "OPTIONS", "", &[other, ("authorization", "Bearer x")], b"").await;
    assert_eq!(guessed, Err(Refused::BadSignature));
    let answer = ask(&source, "OPTIONS", "", &[origin, ("webhook-request-rate", "120")], b"").await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(answer.status, HandshakeStatus::Ok);
    assert_eq!(
        header(&answer, "webhook-allowed-origin"),
        Some("eventemitter.example.com")
    );
    assert_eq!(header(&answer, "webhook-allowed-rate"), Some("*"));
    assert_eq!(header(&answer, "allow"), Some("POST"));

    let answer = ask(&source, "OPTIONS", "", &[origin], b"").await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(header(&answer, "webhook-allowed-rate"), None);
    assert_eq!(ask(&source, "OPTIONS", "", &[], b"").await, Ok(None));
    assert_eq!(ask(&source, "POST", "", &[origin], b"{}").await, Ok(None));
}

#[actix_web::test]
async fn source_without_a_handshake_answers_none() {
    let source = source(r#"{ kind = "bearer" }"#, "s3cret");
    let origin = [("webhook-request-origin", "x")];
    for method in ["GET", "OPTIONS", "POST"] {
        assert_eq!(
            ask(&source, method, "validationToken=x", &origin, b"{}").await,
            Ok(None)
        );
    }
}
