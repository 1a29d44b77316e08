//! Connections of strangers: what they may cost, seen from outside.

use std::time::{Duration, Instant};

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Data, Fail, Reply};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::serve::Running;
use crate::support::{Gate, es, numbered};

/// How long a test waits for what should come within a second.
const SOON: Duration = Duration::from_secs(4);

fn counting() -> Bot {
    Bot::new().data(Gate::opened()).intent("Count", numbered)
}

async fn guarded() -> TestBot {
    TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer = Some("a-token-of-some-length".into());
    })
    .await
}

fn place(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

async fn connect(bot: &TestBot) -> TcpStream {
    TcpStream::connect(place(&bot.url(""))).await.unwrap()
}

/// Reads the answer's head.
async fn told(stream: &mut TcpStream) -> String {
    let mut told = String::new();
    let mut some = [0; 4096];
    while !told.contains("\r\n\r\n") {
        let read = timeout(Duration::from_secs(20), stream.read(&mut some)).await.unwrap();
        let read = read.unwrap();
        assert!(read > 0, "closed after {told:?}");
        told.push_str(std::str::from_utf8(&some[..read]).unwrap());
    }
    told
}

/// Goes on sending small chunks; how long until the connection is closed.
async fn dripping_until_closed(mut stream: TcpStream) -> Duration {
    let begun = Instant::now();
    let mut drips = tokio::time::interval(Duration::from_millis(50));
    // The end of the answer comes before that of the connection: sending is what then fails.
    while stream.write_all(b"1\r\n \r\n").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(15), "still open");
        drips.tick().await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn refused_body_that_goes_on_coming_ends_the_connection() {
    let bot = guarded().await;
    for (line, credentials, status) in [
        ("POST /fulfillment", "", 401),
        ("PUT /fulfillment", "", 401),
        (
            "PUT /fulfillment",
            "authorization: Bearer a-token-of-some-length\r\n",
            405,
        ),
        ("POST /nowhere", "", 404),
    ] {
        let mut stream = connect(&bot).await;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{credentials}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n \r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = told(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        let open = dripping_until_closed(stream).await;
        assert!(open < SOON, "{line}: open for {open:?}");
    }
}

#[tokio::test]
async fn body_that_is_too_slow_or_too_large_ends_the_connection() {
    let bot = TestBot::start(counting()).await;
    let head = "POST /fulfillment HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut slow = connect(&bot).await;
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut large = connect(&bot).await;
    large.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..17 {
        large.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = told(&mut large).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let open = dripping_until_closed(large).await;
    assert!(open < SOON, "too large: open for {open:?}");

    let answer = told(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let open = dripping_until_closed(slow).await;
    assert!(open < SOON, "too slow: open for {open:?}");
}

#[tokio::test]
async fn stranger_is_refused_before_the_body_is_read() {
    let bot = guarded().await;
    let mut stream = connect(&bot).await;
    let asked = Instant::now();
    let head = "POST /fulfillment HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 1000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = told(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // A body is waited for for four seconds.
    assert!(
        asked.elapsed() < Duration::from_millis(3_500),
        "after {:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn bodies_take_no_more_memory_than_they_may_and_what_is_announced_takes_none() {
    let bot = TestBot::start_with(counting(), |settings| settings.server.body_memory_mib = 4).await;
    // A quarter of it is for turns: 1 MiB.
    let announced = |length: usize| {
        format!(
            "POST /fulfillment HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    let turn = es("r1", "Count", json!({})).to_string();
    let padded = format!("{}{turn}", " ".repeat(700_000 - turn.len()));
    let (begun, rest) = padded.split_at(699_000);
    let mut promises = Vec::new();
    for _ in 0..20 {
        let mut promise = connect(&bot).await;
        promise.write_all(announced(1_000_000).as_bytes()).await.unwrap();
        promise.write_all(b" ").await.unwrap();
        promises.push(promise);
    }
    let mut first = connect(&bot).await;
    first.write_all(announced(700_000).as_bytes()).await.unwrap();
    first.write_all(begun.as_bytes()).await.unwrap();

    let mut second = connect(&bot).await;
    second.write_all(announced(700_000).as_bytes()).await.unwrap();
    second.write_all(begun.as_bytes()).await.unwrap();
    // One of the two finds no room, whichever comes later; the other goes on.
    let refused = tokio::select! {
        answer = told(&mut first) => { std::mem::swap(&mut first, &mut second); answer }
        answer = told(&mut second) => answer,
    };
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"),
        "{refused}"
    );
    let (status, reply) = bot.post(es("r2", "Count", json!({})).to_string()).await;
    assert_eq!(status, 200, "{reply}");
    first.write_all(rest.as_bytes()).await.unwrap();
    let answer = told(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(promises);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_answers_nobody_takes_are_read_no_further_and_cost_no_memory() {
    let mut running = Running::start_logged(&[("AUTH_BEARER", "a-token-of-some-length"), ("EVENTS_DIR", "")]);
    let before = running.resident_mib();
    let requests = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let ignoring = (0..16).map(async |_| {
        let mut stream = TcpStream::connect(place(&running.url)).await.unwrap();
        let mut sent = 0;
        while timeout(Duration::from_secs(2), stream.write_all(&requests))
            .await
            .is_ok()
        {
            sent += requests.len();
            assert!(
                sent < 64 * 1024 * 1024,
                "{sent} bytes were read of a client that reads nothing"
            );
        }
        stream
    });
    let held = futures_util::future::join_all(ignoring).await;
    let grown = running.resident_mib().saturating_sub(before);
    assert!(grown < 40, "{grown} MiB for 16 connections");
    let turn = es(
        "r1",
        "Get Account Balance",
        json!({"user_id": "12345", "account_type": "checking"}),
    );
    let http = reqwest::Client::builder().build().unwrap();
    let turn = http.post(format!("{}/fulfillment", running.url)).json(&turn);
    let answer = turn.bearer_auth("a-token-of-some-length").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(held);
    let mut noise = TcpStream::connect(place(&running.url)).await.unwrap();
    noise.write_all(b"\x16\x03\x01 no request\r\n\r\n").await.unwrap();
    let answer = told(&mut noise).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let logs = running.logs();
    assert!(!logs.contains("ERROR"), "{logs}");
}

/// Says nothing that could be told twice.
async fn quiet(gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text("done"))
}

#[tokio::test]
async fn requests_sent_together_are_answered_in_their_order() {
    let gate = Gate::opened();
    let bot = TestBot::start(Bot::new().data(gate.clone()).intent("Quiet", quiet)).await;
    let body = es("r1", "Quiet", json!({})).to_string();
    let turn = format!(
        "POST /fulfillment HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(&bot).await;
    let last = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let all = format!("{turn}HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{turn}{last}");
    stream.write_all(all.as_bytes()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(told.matches("HTTP/1.1 200 OK").count(), 4, "{told}");
    assert_eq!(told.matches("\"fulfillmentText\"").count(), 2, "{told}");
    assert!(
        told.ends_with("alive\n") && told.matches("alive").count() == 1,
        "{told}"
    );
}
