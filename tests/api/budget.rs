//! The answer goes out in time, whatever the handler does, and a late reply is not lost.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Data, Db, Fail, Params, Reply, Upstream};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Gate, es, eventually, metrics, numbered, said};

const SLOW: &str = "Still looking. Ask me again.";

/// An ES budget of a third of a second.
fn hurried(settings: &mut TestSettings) {
    settings.turns.answer_margin_ms = 4_700;
}

fn gated(gate: &Gate) -> Bot {
    Bot::new()
        .data(gate.clone())
        .intent("Slow", numbered)
        .slow(&[("en", SLOW), ("de", "Ich suche noch.")])
}

async fn kept(bot: &TestBot) -> i64 {
    sqlx::query_scalar("select count(*) from rejoinder.late_replies where taken_by is null")
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

/// How many late replies the service knows of.
async fn known(bot: &TestBot) -> usize {
    let metrics = metrics(bot).await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rejoinder_late_replies "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn slow_handler_is_answered_in_time_and_its_reply_given_at_the_next_asking() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(gated(&gate), hurried).await;
    let asked = Instant::now();
    let reply = bot.turn(&es("r1", "Slow", json!({"n": 1}))).await;
    assert_eq!(said(&reply), SLOW);
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "answered after {:?}",
        asked.elapsed()
    );
    gate.open();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    // Another intent or other parameters are another question.
    assert_eq!(said(&bot.turn(&es("r2", "Slow", json!({"n": 2}))).await), "run 2");
    // The same question in other words.
    let mut again = es("r3", "Slow", json!({"n": 1.0}));
    again["queryResult"]["queryText"] = json!("and now?");
    assert_eq!(said(&bot.turn(&again).await), "run 1");
    // A retry of that turn hears the same; a further asking runs anew.
    assert_eq!(said(&bot.turn(&again).await), "run 1");
    assert_eq!(said(&bot.turn(&es("r4", "Slow", json!({"n": 1}))).await), "run 3");
    assert_eq!(kept(&bot).await, 0);
}

#[tokio::test]
async fn slow_text_is_in_the_users_language() {
    let bot = TestBot::start_with(gated(&Gate::closed()), hurried).await;
    let mut turn = es("r1", "Slow", json!({}));
    turn["queryResult"]["languageCode"] = json!("de-AT");
    assert_eq!(said(&bot.turn(&turn).await), "Ich suche noch.");
}

#[tokio::test]
async fn asking_again_while_the_handler_runs_waits_for_that_run() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(gated(&gate), |settings| settings.turns.answer_margin_ms = 4_000).await;
    assert_eq!(said(&bot.turn(&es("r1", "Slow", json!({}))).await), SLOW);
    let mut again = es("r2", "Slow", json!({}));
    again["queryResult"]["queryText"] = json!("well?");
    let (reply, ()) = futures_util::future::join(bot.turn(&again), async { gate.open() }).await;
    assert_eq!(said(&reply), "run 1");
    assert_eq!(gate.entered(), 1);
    eventually("what was given is not kept", async || kept(&bot).await == 0).await;
}

#[tokio::test]
async fn late_reply_is_given_by_another_replica_and_after_a_restart() {
    let gate = Gate::closed();
    let first = TestBot::start_with(gated(&gate), hurried).await;
    let other_gate = Gate::opened();
    let second = TestBot::start_with(gated(&other_gate), |settings| {
        settings.database = Some(first.database())
    })
    .await;
    for n in [1, 2] {
        assert_eq!(said(&first.turn(&es("r", "Slow", json!({"n": n}))).await), SLOW);
    }
    gate.open();
    eventually("both late replies are kept", async || kept(&first).await == 2).await;
    eventually("the other replica knows of both", async || known(&second).await == 2).await;
    assert!(said(&second.turn(&es("r3", "Slow", json!({"n": 1}))).await).starts_with("run "));
    assert_eq!(other_gate.entered(), 0);
    let database = first.database();
    first.stop().await;
    second.stop().await;
    let restarted = TestBot::start_with(gated(&other_gate), |settings| settings.database = Some(database)).await;
    // That which was given stays for its retry.
    eventually("the restarted service has read what is kept", async || {
        known(&restarted).await == 2
    })
    .await;
    assert!(said(&restarted.turn(&es("r4", "Slow", json!({"n": 2}))).await).starts_with("run "));
    assert_eq!(other_gate.entered(), 0);
}

#[tokio::test]
async fn late_reply_is_not_given_after_its_time() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(gated(&gate), hurried).await;
    assert_eq!(said(&bot.turn(&es("r1", "Slow", json!({}))).await), SLOW);
    gate.open();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    bot.clock().advance(TimeDelta::seconds(900));
    assert_eq!(said(&bot.turn(&es("r2", "Slow", json!({}))).await), "run 2");
}

/// Quick, but when told to block: until the test drops the other end.
async fn blocks_its_thread(Params(told): Params<Told>, held: Data<Mutex<Receiver<()>>>) -> Result<Reply, Fail> {
    if told.block {
        held.lock().unwrap().recv().unwrap_err();
    }
    Ok(Reply::text("at last"))
}

#[derive(serde::Deserialize)]
struct Told {
    block: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_blocks_its_thread_is_answered_in_time() {
    let (holder, held) = std::sync::mpsc::channel::<()>();
    let bot = Bot::new().data(Mutex::new(held)).intent("Blocks", blocks_its_thread);
    let bot = TestBot::start_with(bot.slow(&[("en", SLOW)]), hurried).await;
    for n in 0..100 {
        let turn = es(&format!("r{n}"), "Blocks", json!({"block": false}));
        assert_eq!(said(&bot.turn(&turn).await), "at last");
    }
    let turn = es("r", "Blocks", json!({"block": true}));
    // Not before it is answered does the thread go on.
    assert_eq!(said(&bot.turn(&turn).await), SLOW);
    drop(holder);
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
}

async fn panics() -> Result<Reply, Fail> {
    panic!("as this handler does")
}

#[tokio::test]
async fn panicking_handler_is_one_failed_turn() {
    let bot = TestBot::start(
        Bot::new()
            .data(Gate::opened())
            .intent("Panics", panics)
            .intent("Fine", numbered),
    )
    .await;
    let reply = bot.turn(&es("r1", "Panics", json!({}))).await;
    assert_eq!(
        said(&reply),
        "Sorry, something went wrong on our side. Please try again."
    );
    assert_eq!(said(&bot.turn(&es("r2", "Fine", json!({}))).await), "run 1");
}

/// The lock that a test holds to make a query slow.
const LOCK: &str = "select pg_advisory_xact_lock(4711)";

async fn queries(db: Db) -> Result<Reply, Fail> {
    sqlx::query(LOCK).execute(&*db).await?;
    Ok(Reply::text("from the database"))
}

#[tokio::test]
async fn slow_query_is_answered_in_time_and_its_reply_kept() {
    let bot = Bot::new().intent("Query", queries).slow(&[("en", SLOW)]);
    let bot = TestBot::start_with(bot, hurried).await;
    let mut holder = bot.pool().begin().await.unwrap();
    sqlx::query(LOCK).execute(&mut *holder).await.unwrap();
    assert_eq!(said(&bot.turn(&es("r1", "Query", json!({}))).await), SLOW);
    holder.rollback().await.unwrap();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    assert_eq!(
        said(&bot.turn(&es("r2", "Query", json!({}))).await),
        "from the database"
    );
}

#[tokio::test]
async fn pool_with_no_free_connection_is_answered_in_time_and_the_reply_kept() {
    let bot = Bot::new().intent("Query", queries).slow(&[("en", SLOW)]);
    let bot = TestBot::start_with(bot, |settings| {
        hurried(settings);
        settings.pool_size = 1;
    })
    .await;
    let taken = bot.pool().acquire().await.unwrap();
    assert_eq!(said(&bot.turn(&es("r1", "Query", json!({}))).await), SLOW);
    drop(taken);
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    assert_eq!(
        said(&bot.turn(&es("r2", "Query", json!({}))).await),
        "from the database"
    );
}

async fn calls(upstream: Upstream, url: Data<String>) -> Result<Reply, Fail> {
    let answer: String = upstream.json(upstream.get(url.as_str())).await?;
    Ok(Reply::text(answer))
}

#[tokio::test]
async fn slow_upstream_is_answered_in_time_and_its_reply_kept() {
    let service = MockServer::start().await;
    let slow = ResponseTemplate::new(200)
        .set_body_json("from afar")
        .set_delay(Duration::from_secs(1));
    Mock::given(any()).respond_with(slow).mount(&service).await;
    let bot = Bot::new()
        .data(service.uri())
        .intent("Call", calls)
        .slow(&[("en", SLOW)]);
    let bot = TestBot::start_with(bot, hurried).await;
    assert_eq!(said(&bot.turn(&es("r1", "Call", json!({}))).await), SLOW);
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    assert_eq!(said(&bot.turn(&es("r2", "Call", json!({}))).await), "from afar");
}

#[tokio::test]
async fn handler_is_ended_at_its_own_limit_and_the_next_asking_runs_anew() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(gated(&gate).limit(Duration::from_millis(600)), hurried).await;
    assert_eq!(said(&bot.turn(&es("r1", "Slow", json!({}))).await), SLOW);
    eventually("the first run was ended", async || {
        said(&bot.turn(&es("r2", "Slow", json!({}))).await) == SLOW && gate.entered() >= 2
    })
    .await;
}

#[tokio::test]
async fn more_turns_than_places_are_told_that_we_are_busy() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(gated(&gate), |settings| settings.turns.turns_in_flight = 1).await;
    let first = es("r1", "Slow", json!({"n": 1}));
    let held = bot.turn(&first);
    let crowd = async {
        eventually("the first is in", async || gate.entered() == 1).await;
        let reply = bot.turn(&es("r2", "Slow", json!({"n": 2}))).await;
        assert_eq!(
            said(&reply),
            "I am very busy right now. Please ask me again in a minute."
        );
        gate.open();
    };
    let (reply, ()) = futures_util::future::join(held, crowd).await;
    assert_eq!(said(&reply), "run 1");
}

#[tokio::test]
async fn stopping_finishes_the_turns_in_flight() {
    let gate = Gate::closed();
    let bot = TestBot::start(gated(&gate)).await;
    let post = bot
        .http()
        .post(bot.url("/fulfillment"))
        .json(&es("r1", "Slow", json!({})))
        .send();
    let in_flight = tokio::spawn(post);
    eventually("the turn is in", async || gate.entered() == 1).await;
    let (_, ()) = futures_util::future::join(bot.stop(), async {
        tokio::task::yield_now().await;
        gate.open();
    })
    .await;
    let reply: serde_json::Value = in_flight.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(said(&reply), "run 1");
}

async fn fails() -> Result<Reply, Fail> {
    Err(Fail::bug("as this handler does"))
}

#[tokio::test]
async fn intent_may_leave_its_failures_to_the_platforms_own_text() {
    let bot = TestBot::start(Bot::new().intent("Fails", fails).fail_with_status()).await;
    let (status, body) = bot.post(es("r1", "Fails", json!({})).to_string()).await;
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("handler_failed")));
}
