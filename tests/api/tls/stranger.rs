//! Strangers on encrypted connections: what they may cost, and that others do not notice them.

use std::time::{Duration, Instant};

use rejoinder::testing::TestBot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{Files, place, post};

/// How long a turn may take while strangers are about.
const SOON: Duration = Duration::from_secs(4);

/// The types of frames (RFC 9113, 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 0xb;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET https://localhost/`, compressed.
fn get() -> Vec<u8> {
    [&[0x82, 0x87, 0x84, 0x41, 9][..], b"localhost"].concat()
}

/// A connection on which frames may follow.
async fn begun(files: &Files, bot: &TestBot) -> TlsStream<TcpStream> {
    let mut stream = files.connect(bot, "h2").await;
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&preface).await.unwrap();
    stream
}

/// Sends frames, made of their number, until the connection is closed; why it says that it is, and how many were sent.
async fn sending_until_closed(stream: TlsStream<TcpStream>, frames: impl Fn(u32) -> Vec<u8>) -> (Option<u32>, u32) {
    let (mut from, mut to) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.ok();
        all
    });
    let begun = Instant::now();
    let mut sent = 0;
    while !reading.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still open after {sent}");
        let many: Vec<u8> = (sent..sent + 10).flat_map(&frames).collect();
        sent += 10;
        if to.write_all(&many).await.is_err() || to.flush().await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let all = timeout(Duration::from_secs(5), reading).await.unwrap().unwrap();
    (goaway(&all), sent)
}

/// The reason of the last GOAWAY.
fn goaway(mut all: &[u8]) -> Option<u32> {
    let mut reason = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = all {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = rest.get(..length)?;
        if *kind == GOAWAY {
            reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        all = &rest[length..];
    }
    reason
}

async fn answered_soon(files: &Files, bot: &TestBot) {
    let status = timeout(SOON, post(&files.http(), bot)).await.unwrap().unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn handshake_that_does_not_come_about_is_given_up_in_time() {
    let files = Files::new();
    let bot = files.bot().await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(place(&bot)).await.unwrap();
    let mut stuck = TcpStream::connect(place(&bot)).await.unwrap();
    // The beginning of a ClientHello.
    stuck.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let mut idle = files.connect(&bot, "http/1.1").await;
    let mut idle_2 = begun_nothing(&files, &bot).await;
    for (what, stream) in [("silent", &mut silent), ("stuck", &mut stuck)] {
        let read = timeout(Duration::from_secs(10), stream.read(&mut [0; 64])).await;
        assert_eq!(read.unwrap().unwrap_or(0), 0, "{what}");
    }
    // What is left of the five seconds is for the first request.
    for (what, stream) in [("HTTP/1.1", &mut idle), ("HTTP/2", &mut idle_2)] {
        let mut all = Vec::new();
        let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "{what}");
    }
    let took = begun.elapsed().as_secs_f32();
    assert!((4.5..8.0).contains(&took), "{took}");
}

async fn begun_nothing(files: &Files, bot: &TestBot) -> TlsStream<TcpStream> {
    files.connect(bot, "h2").await
}

#[tokio::test]
async fn handshakes_that_are_half_done_do_not_hold_up_others() {
    let files = Files::new();
    let bot = files.bot().await;
    let mut half = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(place(&bot)).await.unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
        half.push(stream);
    }
    answered_soon(&files, &bot).await;
}

#[tokio::test]
async fn plain_text_on_an_encrypted_connection_is_no_request() {
    let files = Files::new();
    let bot = files.bot().await;
    let mut stream = TcpStream::connect(place(&bot)).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    timeout(SOON, stream.read_to_end(&mut all)).await.unwrap().ok();
    assert!(!all.starts_with(b"HTTP"), "{all:?}");
    answered_soon(&files, &bot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_end_the_connection_and_nothing_else() {
    let files = Files::new();
    let bot = files.bot().await;
    let stream = begun(&files, &bot).await;
    let flood = tokio::spawn(sending_until_closed(stream, |number| {
        let stream = 2 * number + 1;
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get());
        [asked, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    }));
    answered_soon(&files, &bot).await;
    let (reason, sent) = flood.await.unwrap();
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM), "after {sent}");
    answered_soon(&files, &bot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_without_an_end_ends_the_connection_and_nothing_else() {
    let files = Files::new();
    let bot = files.bot().await;
    let mut stream = begun(&files, &bot).await;
    let first = frame(HEADERS, END_STREAM, 1, &get());
    stream.write_all(&first).await.unwrap();
    let flood = tokio::spawn(sending_until_closed(stream, |number| {
        // A header that is not remembered, with a name of its own.
        let name = format!("x-{number}");
        let length = [u8::try_from(name.len()).unwrap()];
        let header = [&[0][..], &length, name.as_bytes(), &[1], b"y"].concat();
        frame(CONTINUATION, 0, 1, &header)
    }));
    answered_soon(&files, &bot).await;
    let (reason, sent) = flood.await.unwrap();
    assert!(reason.is_some(), "after {sent}");
    answered_soon(&files, &bot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_whose_answers_nobody_takes_cost_no_memory_and_end_with_the_patience() {
    let files = Files::new();
    let bot = files.bot().await;
    let mut stream = begun(&files, &bot).await;
    let ping = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    let begun = Instant::now();
    while let Ok(Ok(())) = timeout(Duration::from_secs(3), stream.write_all(&ping)).await {
        if begun.elapsed() > Duration::from_secs(8) {
            panic!("it reads on of a client that has asked for nothing");
        }
    }
    answered_soon(&files, &bot).await;
}

#[tokio::test]
async fn head_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let files = Files::new();
    let bot = files.bot().await;
    let http = files.http();
    let large = http
        .get(bot.url("/healthz"))
        .header("x-large", "x".repeat(40_000))
        .send()
        .await
        .unwrap();
    assert_eq!(large.status(), 431);
    let mut many = http.get(bot.url("/healthz"));
    for number in 0..100 {
        many = many.header(format!("x-{number}"), "y");
    }
    assert_eq!(many.send().await.unwrap().status(), 431);
    assert_eq!(post(&http, &bot).await.unwrap(), 200);
}
