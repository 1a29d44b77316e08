//! HTTP/2: requests beside each other on one connection, of which each has its own end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{Request, Response};
use rejoinder::Bot;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Files, quiet_bot, turn};
use crate::support::{Gate, es, eventually, numbered};

async fn connect(files: &Files, bot: &TestBot) -> SendRequest<Bytes> {
    let stream = files.connect(bot, "h2").await;
    // Until the server's settings are there, it may begin as many requests as clients commonly do then, not any number.
    let client = h2::client::Builder::new()
        .initial_max_send_streams(100)
        .handshake(stream);
    let (client, connection) = client.await.unwrap();
    tokio::spawn(connection);
    client
}

/// Begins to post a turn.
async fn posting(client: &SendRequest<Bytes>) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post("https://localhost/fulfillment").header("content-type", "application/json");
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request.body(()).unwrap(), false).unwrap()
}

async fn read(answer: Response<h2::RecvStream>) -> (u16, Value) {
    let (head, mut body) = answer.into_parts();
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    (head.status.as_u16(), serde_json::from_slice(&all).unwrap_or_default())
}

async fn posted(client: &SendRequest<Bytes>, turn: &Value) -> (u16, Value) {
    let (answer, mut sending) = posting(client).await;
    sending.send_data(turn.to_string().into(), true).unwrap();
    read(answer.await.unwrap()).await
}

#[tokio::test]
async fn refused_body_that_goes_on_coming_ends_its_stream_and_no_other() {
    let files = Files::new();
    let bot = TestBot::start_with(quiet_bot(), |settings| {
        files.set(settings);
        settings.doors.general.auth.auth_bearer = Some("a-token-of-some-length".into());
    })
    .await;
    let client = connect(&files, &bot).await;
    let (answer, mut sending) = posting(&client).await;
    sending.send_data(Bytes::from_static(b" "), false).unwrap();
    let (status, refusal) = read(answer.await.unwrap()).await;
    assert_eq!((status, &refusal["error"]["code"]), (401, &json!("unauthorized")));
    let given_up = std::future::poll_fn(|cx| sending.poll_reset(cx));
    let given_up = timeout(Duration::from_secs(4), given_up).await.unwrap();
    assert_eq!(given_up.unwrap(), Reason::NO_ERROR);
    assert_eq!(posted(&client, &turn()).await.0, 401, "the connection goes on");
}

#[tokio::test]
async fn body_that_is_too_slow_is_refused_in_time() {
    let files = Files::new();
    let bot = files.bot().await;
    let client = connect(&files, &bot).await;
    let begun = Instant::now();
    let (slow, mut sending) = posting(&client).await;
    sending.send_data(Bytes::from_static(b"{"), false).unwrap();
    assert_eq!(posted(&client, &turn()).await.0, 200, "beside it");
    let (status, _) = read(slow.await.unwrap()).await;
    assert_eq!((status, begun.elapsed().as_secs()), (408, 4));
}

#[tokio::test]
async fn requests_are_answered_beside_each_other_and_so_many_at_once() {
    let files = Files::new();
    let gate = Gate::closed();
    let held = Bot::new().data(gate.clone()).intent("Count", numbered);
    let bot = TestBot::start_with(held, |settings| {
        files.set(settings);
        settings.turns.dialogflow.cx_limit_ms = 30_000;
    })
    .await;
    let client = connect(&files, &bot).await;
    let asked: Vec<_> = (0..120)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(
                async move { posted(&client, &es(&format!("r{number}"), "Count", json!({"n": number}))).await },
            )
        })
        .collect();
    eventually("a hundred are under way", async || gate.entered() == 100).await;
    gate.open();
    for answer in asked {
        assert_eq!(answer.await.unwrap().0, 200);
    }
    assert_eq!(gate.entered(), 120);
}
