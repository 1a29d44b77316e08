//! The trace that a caller has begun goes on at the services that a handler calls, and a collector that is away holds nothing up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use crate::serve::Running;
use crate::support::{es, said};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Asks for a rate, as part of a trace; returns what the rates service got.
async fn asked(running: &Running, rates: &MockServer) -> Request {
    let turn = es(
        "r1",
        "Exchange Rate",
        json!({"from_currency": "EUR", "to_currency": "USD"}),
    );
    let http = reqwest::Client::builder().build().unwrap();
    let post = http.post(format!("{}/fulfillment", running.url)).json(&turn);
    let post = post.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let reply: Value = post.send().await.unwrap().json().await.unwrap();
    assert!(said(&reply).contains("1.1"), "{reply}");
    rates.received_requests().await.unwrap().pop().unwrap()
}

async fn rates() -> MockServer {
    let rates = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({"date": "2026-11-27", "rates": {"USD": 1.1}}));
    Mock::given(matchers::method("GET"))
        .respond_with(answer)
        .mount(&rates)
        .await;
    rates
}

#[tokio::test]
async fn upstream_is_told_of_the_trace_though_its_collector_is_away() {
    let rates = rates().await;
    let mut running = Running::start_logged(&[
        ("RATES_API_URL", &rates.uri()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
    ]);
    let request = asked(&running, &rates).await;
    let told = request.headers["traceparent"].to_str().unwrap();
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"),
        "{told}"
    );
    assert!(
        !told.contains("00f067aa0ba902b7"),
        "the call is a span of its own: {told}"
    );
    let stopped = Instant::now();
    let logs = running.logs();
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    assert!(!logs.contains("panic"), "{logs}");
}

#[tokio::test]
async fn upstream_is_told_nothing_where_traces_are_switched_off() {
    let rates = rates().await;
    let running = Running::start_logged(&[("RATES_API_URL", &rates.uri())]);
    let request = asked(&running, &rates).await;
    assert!(!request.headers.contains_key("traceparent"));
}
