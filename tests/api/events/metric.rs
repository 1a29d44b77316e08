//! What operators see of events: counters, histograms, and log lines that name the event and never what it says.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::directory::Directory;
use super::shop::{self, SESSION, shipped};
use crate::serve::Running;
use crate::structure::rust_files;
use crate::support::{es, eventually, metrics};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The value of a metric that is shown so; 0 where it is not shown.
async fn value(bot: &TestBot, name: &str) -> f64 {
    let metrics = metrics(bot).await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_an_event_is_counted() {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    for _ in 0..2 {
        bot.post_event("generic", &event).await;
    }
    bot.send("order.lost", "10042", json!({})).await;
    bot.http()
        .post(bot.url("/events/generic"))
        .json(&event)
        .send()
        .await
        .unwrap();
    bot.http()
        .post(bot.url("/events/nobody"))
        .json(&event)
        .send()
        .await
        .unwrap();
    bot.send("inventory.reserved", "nowhere", json!({})).await;
    bot.send("payment.confirmed", "nowhere", json!({"amount": 1})).await;
    for _ in 0..5 {
        bot.events_applied().await;
        bot.clock().advance(TimeDelta::seconds(9));
    }
    for (name, wanted) in [
        ("rejoinder_events_received_total{source=\"generic\"}", 5.0),
        ("rejoinder_events_stored_total{source=\"generic\"}", 3.0),
        ("rejoinder_events_duplicate_total{source=\"generic\"}", 1.0),
        (
            "rejoinder_events_refused_total{source=\"generic\",reason=\"schema\"}",
            1.0,
        ),
        (
            "rejoinder_events_refused_total{source=\"generic\",reason=\"not_signed\"}",
            1.0,
        ),
        (
            "rejoinder_events_refused_total{source=\"(unknown)\",reason=\"unknown_source\"}",
            1.0,
        ),
        ("rejoinder_events_applied_total", 2.0),
        ("rejoinder_events_retried_total", 4.0),
        ("rejoinder_events_dead_total", 1.0),
        ("rejoinder_events_apply_delay_seconds_count", 2.0),
    ] {
        assert_eq!(value(&bot, name).await, wanted, "{name} in\n{}", metrics(&bot).await);
    }
    assert!(value(&bot, "rejoinder_events_store_duration_seconds_count").await >= 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_channel_and_call_carry_the_trace_and_no_line_what_the_payload_says() {
    let server = MockServer::start().await;
    for place in ["/hook", "/call"] {
        let told = Mock::given(path(place)).respond_with(ResponseTemplate::new(200));
        told.mount(&server).await;
    }
    let directory = Directory::copied()
        .with(
            "channels/crm.toml",
            &format!(
                "url = '{}/hook'\nallow_private = true\nsecret_env = 'CRM_SECRET'\n",
                server.uri()
            ),
        )
        .with(
            "sources/cloudevents.toml",
            "format = 'cloudevents'\ntypes = ['order.*']\n[secret]\nenv = 'CLOUDEVENTS_BEARER_TOKEN'\n\
             [scheme]\nkind = 'bearer'\n",
        )
        .with(
            "reactions/tell.toml",
            &format!(
                "on = ['order.shipped']\n[[do]]\n\
                 notify = {{ topic = 'orders', text = 'Number {{{{ payload.tracking_number }}}}', channel = 'crm' }}\n\
                 [[do]]\ncall = {{ url = '{}/call', body = {{ number = '{{{{ payload.tracking_number }}}}' }}, \
                 allow_private = true }}\n",
                server.uri()
            ),
        );
    let events = directory.path();
    let mut running = Running::start_logged(&[
        ("EVENTS_DIR", events.to_str().unwrap()),
        ("RUST_LOG", "info,rejoinder=debug"),
        ("LOG_FORMAT", "json"),
        ("CRM_SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        ("CLOUDEVENTS_BEARER_TOKEN", "a-bearer-token-of-the-tests"),
    ]);
    let http = reqwest::Client::builder().build().unwrap();
    let send = async |id: &str, event_type: &str, version: &str, data: serde_json::Value| {
        let event = json!({"specversion": "1.0", "id": id, "source": "/shop", "type": event_type, "subject": "10042",
            "time": "2026-09-21T12:00:00Z", "dataschema": format!("/{event_type}/{version}"), "data": data});
        let post = http
            .post(format!("{}/events/cloudevents", running.url))
            .header("content-type", "application/cloudevents+json")
            .header("traceparent", TRACEPARENT)
            .bearer_auth("a-bearer-token-of-the-tests")
            .body(event.to_string());
        post.send().await.unwrap().status().as_u16()
    };
    assert_eq!(
        send(
            "event-good-1",
            "order.shipped",
            "2",
            json!({"tracking_number": "marked-number"})
        )
        .await,
        202
    );
    assert_eq!(
        send(
            "event-bad-1",
            "order.shipped",
            "2",
            json!({"tracking_number": ["marked-bad"]})
        )
        .await,
        422
    );
    let mut turn = es("r1", "Order Status", json!({"order_number": "10042"}));
    turn["session"] = json!(SESSION);
    eventually("applied", async || {
        turn["responseId"] = json!(uuid::Uuid::new_v4().to_string());
        let post = http.post(format!("{}/fulfillment", running.url)).json(&turn);
        post.send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("marked-number")
    })
    .await;
    eventually("channel and call are made", async || {
        server.received_requests().await.unwrap().len() == 2
    })
    .await;
    for request in server.received_requests().await.unwrap() {
        assert_eq!(request.headers["traceparent"], TRACEPARENT, "{}", request.url);
        assert!(String::from_utf8(request.body).unwrap().contains("marked-number"));
    }
    let logs = running.logs();
    for absent in ["marked-number", "marked-bad", "a-bearer-token-of-the-tests"] {
        assert!(!logs.contains(absent), "{absent} is in the logs:\n{logs}");
    }
    for step in [
        "\"taken in\"",
        "\"applied\"",
        "\"said\"",
        "\"channel\":\"crm\"",
        "\"channel\":\"call\"",
    ] {
        let line = logs
            .lines()
            .find(|line| line.contains("event-good-1") && line.contains(step));
        let line = line.unwrap_or_else(|| panic!("no line {step:?} of the event in\n{logs}"));
        for named in ["order.shipped", "10042", TRACEPARENT] {
            assert!(line.contains(named), "{named} is not in {line}");
        }
    }
}

/// The metrics that `docs/metrics.md` lists.
fn listed() -> BTreeSet<&'static str> {
    let lines = include_str!("../../../docs/metrics.md").lines();
    lines
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0))
        .collect()
}

/// The metrics that the sources name, without `_total`: what is registered, and what is written when it is asked for.
fn named() -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (path, text) in rust_files("src") {
        let quoted = |after: &str| after.split('"').nth(1).map(str::to_owned);
        for (call, unit) in [("registry.register(", ""), ("registry.register_with_unit(", "_seconds")] {
            let names = text.split(call).skip(1).filter_map(quoted);
            named.extend(names.map(|name| format!("rejoinder_{name}{unit}")));
        }
        if path.to_string_lossy().contains("/operate/") {
            let strings = text.split('"').skip(1).step_by(2);
            let names = strings.filter(|name| name.starts_with("rejoinder_") || name.starts_with("process_"));
            named.extend(names.map(str::to_owned));
        }
    }
    named
}

#[tokio::test]
async fn list_of_metrics_is_equal_to_what_is_served() {
    let bot = shop::open().await;
    let metrics = metrics(&bot).await;
    let served = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<String> = served
        .map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => panic!("{line}"),
        })
        .collect();
    let listed = listed();
    let unlisted: Vec<_> = served.iter().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(unlisted.is_empty() && served.len() > 30, "{unlisted:?}");
    // One that has counted nothing yet is not served.
    let listed = listed.iter().map(|name| name.strip_suffix("_total").unwrap_or(name));
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), named());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_counted_and_refusals_are_counted_by_code() {
    let bot = shop::open().await;
    bot.post_event("generic", &json!({"type": 1})).await;
    bot.http().get(bot.url("/nothing")).send().await.unwrap();
    for (name, wanted) in [
        ("rejoinder_quarantine{kind=\"request\"}", 1.0),
        ("rejoinder_events_quarantined_total{source=\"generic\"}", 1.0),
        (
            "rejoinder_requests_refused_total{status=\"404\",code=\"not_found\"}",
            1.0,
        ),
        ("rejoinder_events_leases", 32.0),
        ("rejoinder_database_up", 1.0),
    ] {
        eventually(name, async || value(&bot, name).await == wanted).await;
    }
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(value(&bot, name).await > 1.0, "{name}");
    }
}
