//! From the command line to the user: the program as it is started from a clean clone.

use std::process::Command;
use std::time::Duration;

use rejoinder::testing::ChatStream;
use serde_json::{Value, json};

use super::command::{Ran, ran};
use super::directory;
use super::shop::{self, SESSION, shipped};
use crate::serve::{Running, data_dir, rejoinder};
use crate::support::{es, eventually, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_order_is_told_to_the_open_window_and_to_the_next_turn() {
    let home = data_dir();
    let events = directory::package();
    let running = Running::start(&home, &[("EVENTS_DIR", events.to_str().unwrap())]);
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let stream = http
        .get(format!("{}/conversations/{SESSION}/stream", running.url))
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    let mut stream = ChatStream::from(stream);

    let send = |payload: &str| {
        let mut command: Command = rejoinder();
        command.env("DATA_DIR", home.path()).env("EVENTS_DIR", &events).args([
            "events",
            "send",
            "order.shipped",
            "--entity",
            "10042",
            "--payload",
            payload,
            "--url",
            &running.url,
        ]);
        ran(command)
    };
    let Ran { code, out, err } = send(r#"{"tracking_number": "1Z999"}"#);
    assert!(code == 0 && out.starts_with("202 Accepted\n"), "{code} {out} {err}");
    assert_eq!(stream.next().await.text, "Your order #10042 has shipped");
    let turn = async || -> Value {
        let mut turn = es(
            &uuid::Uuid::new_v4().to_string(),
            "Order Status",
            json!({"order_number": "10042"}),
        );
        turn["session"] = json!(SESSION);
        let post = http.post(format!("{}/fulfillment", running.url)).json(&turn);
        post.send().await.unwrap().json().await.unwrap()
    };
    let reply = turn().await;
    assert!(
        said(&reply).contains("shipped") && said(&reply).contains("1Z999"),
        "{reply}"
    );

    let refused = send(r#"{"tracking_number": 7}"#);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("/payload/tracking_number"), "{refused:?}");
    let unreachable = {
        let mut command: Command = rejoinder();
        command.env("DATA_DIR", home.path()).env("EVENTS_DIR", &events);
        ran_at_a_closed_port(command)
    };
    assert_eq!(unreachable.code, 2, "{unreachable:?}");
}

fn ran_at_a_closed_port(mut command: Command) -> Ran {
    command.args([
        "events",
        "send",
        "order.delivered",
        "--entity",
        "10042",
        "--url",
        "http://127.0.0.1:1",
    ]);
    ran(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_that_comes_back_hears_only_what_it_missed() {
    let bot = shop::open().await;
    let mut stream = bot.stream(SESSION).await;
    let (_, first) = bot.send("order.shipped", "10042", shipped("1Z")).await;
    let heard = stream.next().await;
    assert_eq!(heard.event_id, first["event_id"]);
    assert_eq!(heard.topic.as_deref(), Some("orders"));
    drop(stream);
    let mut missed = Vec::new();
    for _ in 0..2 {
        let (_, answer) = bot.send("order.shipped", "10042", shipped("1Z")).await;
        missed.push(answer["event_id"].clone());
        bot.events_applied().await;
    }
    let mut stream = bot.stream_after(SESSION, &heard.stream_id).await;
    for event_id in missed {
        assert_eq!(stream.next().await.event_id, event_id);
    }
    let (_, last) = bot.send("order.shipped", "10042", shipped("1Z")).await;
    assert_eq!(stream.next().await.event_id, last["event_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_who_has_opted_out_is_not_told() {
    let bot = shop::open().await;
    sqlx::query("update rejoinder.subscriptions set opted_in = false where user_id = '12345'")
        .execute(bot.pool())
        .await
        .unwrap();
    bot.send("order.shipped", "10042", shipped("1Z")).await;
    bot.events_applied().await;
    assert!(shop::messages(&bot).await.is_empty());
    eventually("it is known all the same", async || {
        shop::status_of(&bot, "10042").await == "shipped 1Z"
    })
    .await;
}
