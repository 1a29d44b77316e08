//! A service that stops: what it tells, and that nothing is lost while others take over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rejoinder::Bot;
use rejoinder::testing::{TestBot, TestSettings};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::events::shop;
use crate::support::{Gate, es, eventually, metrics, numbered, said};

const SLOW: &str = "Still looking. Ask me again.";

fn gated(gate: &Gate) -> Bot {
    Bot::new()
        .data(gate.clone())
        .intent("Slow", numbered)
        .slow(&[("en", SLOW)])
}

/// A turn of a conversation of its own.
fn turn(number: usize) -> Value {
    let mut turn = es(&format!("r{number}"), "Slow", json!({"n": number}));
    turn["session"] = format!("projects/p/agent/sessions/s{number}").into();
    turn
}

/// Posts as a load balancer does: on connections that are kept, and each turn once.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().retry(reqwest::retry::never());
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

async fn is_ready(http: &reqwest::Client, url: &str) -> bool {
    let asked = http.get(format!("{url}/readyz")).timeout(Duration::from_secs(1));
    asked.send().await.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_stops_says_so_and_goes_on_answering_before_it_ends_connections() {
    let bot = TestBot::start_with(gated(&Gate::opened()), |settings| {
        settings.server.shutdown_delay_s = 4;
    })
    .await;
    let (url, http) = (bot.url(""), client());
    let post = || http.post(format!("{url}/fulfillment")).json(&turn(1)).send();
    let before = post().await.unwrap();
    assert!(!before.headers().contains_key("connection"), "{before:?}");
    assert!(is_ready(&http, &url).await);

    let stopping = tokio::spawn(bot.stop());
    eventually("not ready", async || !is_ready(&http, &url).await).await;
    // Also on a connection that comes only now.
    for http in [http.clone(), client()] {
        let answer = http
            .post(format!("{url}/fulfillment"))
            .json(&turn(1))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["connection"], "close");
    }
    stopping.await.unwrap();
    assert!(
        client().get(format!("{url}/healthz")).send().await.is_err(),
        "it still listens"
    );
}

/// Two replicas, and which of them a load balancer sends turns to.
struct Replica {
    url: std::sync::Mutex<String>,
    is_ready: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_behind_a_load_balancer_that_follows_readiness_fails_no_turn() {
    let database = TestBot::start(Bot::new()).await.database();
    let start = async || {
        TestBot::start_with(gated(&Gate::opened()), |settings: &mut TestSettings| {
            settings.server.shutdown_delay_s = 3;
            settings.database = Some(database.clone());
        })
        .await
    };
    let mut bots = [start().await, start().await];
    let replicas = bots.each_ref().map(|bot| {
        Arc::new(Replica {
            url: std::sync::Mutex::new(bot.url("")),
            is_ready: AtomicBool::new(true),
        })
    });
    let (http, done) = (client(), Arc::new(AtomicBool::new(false)));
    let (answered, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for replica in replicas.clone() {
        let (http, done) = (http.clone(), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let url = replica.url.lock().unwrap().clone();
                let is_ready = is_ready(&http, &url).await;
                replica.is_ready.store(is_ready, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }
    for client in 0..6 {
        let (http, done, replicas) = (http.clone(), Arc::clone(&done), replicas.clone());
        let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
        tasks.push(tokio::spawn(async move {
            let mut number = client * 1_000_000;
            while !done.load(Ordering::SeqCst) {
                number += 1;
                let mut ready = replicas.iter().cycle().skip(number).take(2);
                let Some(replica) = ready.find(|replica| replica.is_ready.load(Ordering::SeqCst)) else {
                    failed.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                let url = replica.url.lock().unwrap().clone();
                let post = http.post(format!("{url}/fulfillment")).json(&turn(number));
                match post.send().await {
                    Ok(answer) if answer.status() == 200 => answered.fetch_add(1, Ordering::SeqCst),
                    Ok(_) | Err(_) => failed.fetch_add(1, Ordering::SeqCst),
                };
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    let more = async |turns: usize| {
        let so_far = answered.load(Ordering::SeqCst);
        eventually("more turns are answered", async || {
            answered.load(Ordering::SeqCst) >= so_far + turns
        })
        .await;
    };
    for (bot, replica) in bots.iter_mut().zip(&replicas) {
        more(100).await;
        let next = start().await;
        std::mem::replace(bot, next).stop().await;
        *replica.url.lock().unwrap() = bot.url("");
        eventually("ready again", async || replica.is_ready.load(Ordering::SeqCst)).await;
        more(100).await;
    }
    done.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let (answered, failed) = (answered.load(Ordering::SeqCst), failed.load(Ordering::SeqCst));
    assert_eq!(failed, 0, "beside {answered} that were answered");
}

async fn count(database: &PgConnectOptions, query: &'static str) -> i64 {
    let mut connection = PgConnection::connect_with(database).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_replies_of_handlers_that_outlive_the_connections_are_kept() {
    let gate = Gate::closed();
    // An ES budget of a third of a second.
    let hurried = |settings: &mut TestSettings| settings.turns.answer_margin_ms = 4_700;
    let ask = async |bot: &TestBot, numbers: std::ops::Range<usize>| -> Vec<String> {
        let asked = numbers.map(async |number| said(&bot.turn(&turn(number)).await).to_owned());
        futures_util::future::join_all(asked).await
    };
    let before = TestBot::start_with(gated(&gate), hurried).await;
    let database = before.database();
    let kept = async || {
        count(
            &database,
            "select count(*) from rejoinder.late_replies where taken_by is null",
        )
        .await
    };
    assert!(ask(&before, 0..20).await.iter().all(|said| said == SLOW));
    gate.let_pass(20);
    eventually("the first are kept", async || kept().await == 20).await;
    before.stop().await;

    let bot = TestBot::start_with(gated(&gate), |settings| {
        hurried(settings);
        settings.pool_size = 10;
        settings.database = Some(database.clone());
    })
    .await;
    let url = bot.url("");
    eventually("it knows them", async || {
        metrics(&bot).await.contains("rejoinder_late_replies 20\n")
    })
    .await;
    // All at once, so that the threads that serve connections open some to the database.
    assert!(ask(&bot, 0..20).await.iter().all(|said| said.starts_with("run ")));
    assert!(ask(&bot, 20..40).await.iter().all(|said| said == SLOW));

    let stopping = tokio::spawn(bot.stop());
    eventually("no connection is taken", async || {
        tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
            .await
            .is_err()
    })
    .await;
    gate.open();
    stopping.await.unwrap();
    assert_eq!(kept().await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_stops_with_open_streams_gives_up_its_partitions_at_once() {
    let bot = TestBot::start_with(shop(), |settings| settings.events.events_pool_size = 4).await;
    let database = bot.database();
    let workers = async || count(&database, "select count(*) from rejoinder.event_workers").await;
    eventually("it works", async || workers().await == 1).await;
    let session = "projects/p/agent/sessions/s";
    let streams = futures_util::future::join_all((0..20).map(|_| bot.stream_after(session, "0"))).await;
    bot.stop().await;
    assert_eq!(workers().await, 0);
    drop(streams);
}
