//! A turn that comes twice runs once, and is answered twice with the same bytes.

use std::sync::Arc;

use futures_util::future::join;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Data, Fail, Params, Reply, Turn, Tx};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Gate, es, eventually, numbered, said};

async fn bytes(bot: &TestBot, turn: &Value) -> Vec<u8> {
    let request = bot.http().post(bot.url("/fulfillment")).json(turn);
    request.send().await.unwrap().bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn turn_that_comes_again_while_it_runs_joins_it() {
    let gate = Gate::closed();
    let bot = TestBot::start(Bot::new().data(gate.clone()).intent("Count", numbered)).await;
    let turn = es("r1", "Count", json!({}));
    let release = async {
        eventually("the first is in", async || gate.entered() == 1).await;
        gate.open();
    };
    let ((one, two), ()) = join(join(bytes(&bot, &turn), bytes(&bot, &turn)), release).await;
    assert_eq!(one, two);
    assert_eq!(gate.entered(), 1);
}

/// Once turns that are posted now are answered, those that were posted before have at least been taken in.
async fn after_others_of_now(bot: &TestBot) {
    for probe in 0..20 {
        bot.turn(&es(&format!("probe {probe}"), "Probe", json!({}))).await;
    }
}

async fn probe() -> Result<Reply, Fail> {
    Ok(Reply::text("here"))
}

#[tokio::test]
async fn retry_under_a_new_id_joins_the_run_too() {
    let gate = Gate::closed();
    let bot = Bot::new()
        .data(gate.clone())
        .intent("Count", numbered)
        .intent("Probe", probe);
    let bot = TestBot::start(bot).await;
    let release = async {
        eventually("the first is in", async || gate.entered() == 1).await;
        after_others_of_now(&bot).await;
        gate.open();
    };
    let (first, retry) = (es("r1", "Count", json!({})), es("r2", "Count", json!({})));
    let ((one, two), ()) = join(join(bytes(&bot, &first), bytes(&bot, &retry)), release).await;
    assert_eq!((one, gate.entered()), (two, 1));
}

#[tokio::test]
async fn turn_that_comes_again_later_is_replayed_byte_for_byte() {
    let gate = Gate::opened();
    let bot = TestBot::start(Bot::new().data(gate.clone()).intent("Count", numbered)).await;
    let turn = es("r1", "Count", json!({}));
    let first = bytes(&bot, &turn).await;
    assert_eq!(first, bytes(&bot, &turn).await);
    assert_eq!(gate.entered(), 1);
    // The user says the same again: another turn.
    assert_eq!(said(&bot.turn(&es("r2", "Count", json!({}))).await), "run 2");
}

#[tokio::test]
async fn one_response_id_spans_several_turns() {
    let gate = Gate::opened();
    let bot = Bot::new()
        .data(gate.clone())
        .intent("Hop 1", numbered)
        .intent("Hop 2", numbered);
    let bot = TestBot::start(bot).await;
    assert_eq!(said(&bot.turn(&es("r1", "Hop 1", json!({}))).await), "run 1");
    assert_eq!(said(&bot.turn(&es("r1", "Hop 2", json!({}))).await), "run 2");
    assert_eq!(said(&bot.turn(&es("r1", "Hop 2", json!({"step": 2}))).await), "run 3");
}

#[tokio::test]
async fn turn_with_no_response_id_is_never_replayed() {
    let gate = Gate::opened();
    let bot = TestBot::start(Bot::new().data(gate.clone()).intent("Count", numbered)).await;
    for run in ["run 1", "run 2"] {
        assert_eq!(said(&bot.turn(&es("", "Count", json!({}))).await), run);
    }
}

async fn fails_first(gate: Data<Gate>) -> Result<Reply, Fail> {
    match gate.pass().await {
        1 => Err(Fail::Upstream(anyhow::anyhow!("not today"))),
        run => Ok(Reply::text(format!("run {run}"))),
    }
}

#[tokio::test]
async fn failed_turn_that_comes_again_runs_again() {
    let bot = TestBot::start(Bot::new().data(Gate::opened()).intent("Flaky", fails_first)).await;
    let turn = es("r1", "Flaky", json!({}));
    assert!(said(&bot.turn(&turn).await).starts_with("I cannot reach"));
    assert_eq!(said(&bot.turn(&turn).await), "run 2");
}

#[derive(Deserialize)]
struct Booking {
    #[serde(default)]
    refuse: bool,
}

/// With a table to write to.
fn booking_bot() -> Bot {
    Bot::new().migrations(sqlx::migrate!("intents/migrations"))
}

/// Books a row of its own each time it runs.
async fn book(Params(booking): Params<Booking>, mut tx: Tx, gate: Data<Gate>) -> Result<Reply, Fail> {
    let run = gate.pass().await;
    sqlx::query("insert into stock (product, store, quantity) values ($1, 'test', 1)")
        .bind(format!("booking {run}"))
        .execute(&mut *tx)
        .await?;
    if booking.refuse {
        Err(Fail::say("no"))
    } else {
        Ok(Reply::text(format!("booked by run {run}")))
    }
}

async fn booked(bot: &TestBot) -> i64 {
    sqlx::query_scalar("select count(*) from stock where store = 'test'")
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn transaction_happens_once_across_replicas_and_restarts() {
    let gate = Gate::opened();
    let booking = || booking_bot().data(gate.clone()).intent("Book", book);
    let first = TestBot::start(booking()).await;
    let second = TestBot::start_with(booking(), |settings| settings.database = Some(first.database())).await;
    let turn = es("r1", "Book", json!({}));
    let (one, two) = join(bytes(&first, &turn), bytes(&second, &turn)).await;
    assert_eq!(one, two);
    assert_eq!(booked(&first).await, 1);
    let database = first.database();
    first.stop().await;
    second.stop().await;
    let restarted = TestBot::start_with(booking(), |settings| settings.database = Some(database)).await;
    assert_eq!(one, bytes(&restarted, &turn).await);
    assert_eq!(booked(&restarted).await, 1);
    assert!(said(&restarted.turn(&es("r2", "Book", json!({}))).await).starts_with("booked by run"));
    assert_eq!(booked(&restarted).await, 2);
}

#[tokio::test]
async fn refused_transaction_leaves_nothing_and_may_be_tried_again() {
    let bot = TestBot::start(booking_bot().data(Gate::opened()).intent("Book", book)).await;
    let turn = es("r1", "Book", json!({"refuse": true}));
    assert_eq!(said(&bot.turn(&turn).await), "no");
    assert_eq!(booked(&bot).await, 0);
    assert_eq!(said(&bot.turn(&turn).await), "no");
}

#[tokio::test]
async fn slow_transaction_commits_once_and_its_reply_is_given_at_the_next_asking() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(booking_bot().data(gate.clone()).intent("Book", book), |settings| {
        settings.turns.answer_margin_ms = 4_700;
    })
    .await;
    assert!(said(&bot.turn(&es("r1", "Book", json!({}))).await).starts_with("This is taking a moment"));
    gate.open();
    eventually("the booking is committed", async || booked(&bot).await == 1).await;
    assert_eq!(said(&bot.turn(&es("r2", "Book", json!({}))).await), "booked by run 1");
    assert_eq!(booked(&bot).await, 1);
}

/// Writes a row each time it runs, and sees all of the turn.
async fn writes(_: Arc<Turn>, mut tx: Tx, gate: Data<Gate>) -> Result<Reply, Fail> {
    let run = gate.pass().await;
    sqlx::query("insert into stock (product, store, quantity) values ($1, 'test', 1)")
        .bind(format!("booking {run}"))
        .execute(&mut *tx)
        .await?;
    Ok(Reply::text(format!("run {run}")))
}

fn with_context(ids: [&str; 2]) -> Value {
    let contexts = ids.map(|id| {
        let name = format!("projects/p-1/agent/sessions/s-1/contexts/{id}");
        json!({"name": name, "lifespanCount": 5, "parameters": {"of": id}})
    });
    json!(contexts)
}

/// An ES turn that no intent is for.
fn es_unknown() -> Value {
    let mut turn = es("same", "Unknown", json!({}));
    turn["queryResult"]["action"] = json!("act1");
    turn["queryResult"]["outputContexts"] = with_context(["a", "b"]);
    turn["originalDetectIntentRequest"] = json!({"payload": {"x": 1}});
    turn
}

/// A fulfillment of a CX turn that no tag is for.
fn cx_unknown() -> Value {
    json!({
        "detectIntentResponseId": "same",
        "fulfillmentInfo": {"tag": "tag-one"},
        "languageCode": "en",
        "triggerEvent": "EV1",
        "sessionInfo": {
            "session": "projects/p/locations/global/agents/a/sessions/s",
            "parameters": {},
        },
        "pageInfo": {
            "currentPage": "projects/p/locations/global/agents/a/flows/f/pages/START_PAGE",
            "formInfo": {"parameterInfo": [{"displayName": "f", "state": "FILLED", "value": 1, "justCollected": true}]},
        },
    })
}

/// Under one response id, in memory at the replica that ran it and by the database at the other.
#[rstest]
#[case::tag(cx_unknown(), "/fulfillmentInfo/tag", json!("tag-two"), 2)]
#[case::event(cx_unknown(), "/triggerEvent", json!("EV2"), 2)]
#[case::form(cx_unknown(), "/pageInfo/formInfo/parameterInfo/0/state", json!("INVALID"), 2)]
#[case::action(es_unknown(), "/queryResult/action", json!("act2"), 2)]
#[case::payload(es_unknown(), "/originalDetectIntentRequest/payload/x", json!(2), 2)]
#[case::order_of_contexts(es_unknown(), "/queryResult/outputContexts", with_context(["b", "a"]), 1)]
#[tokio::test]
async fn fulfillments_that_differ_in_what_a_handler_sees_are_turns_of_their_own(
    #[case] one: Value,
    #[case] field: &str,
    #[case] changed: Value,
    #[case] turns: i64,
) {
    let gate = Gate::opened();
    let writing = || booking_bot().data(gate.clone()).fallback(writes);
    let first = TestBot::start(writing()).await;
    let second = TestBot::start_with(writing(), |settings| settings.database = Some(first.database())).await;
    let mut other = one.clone();
    *other.pointer_mut(field).unwrap() = changed;
    let reply = bytes(&first, &one).await;
    let others = bytes(&first, &other).await;
    assert_eq!(reply == others, turns == 1);
    assert_eq!(booked(&first).await, turns);
    for (turn, reply) in [(&one, &reply), (&other, &others)] {
        assert_eq!(&bytes(&first, turn).await, reply);
        assert_eq!(&bytes(&second, turn).await, reply);
    }
    assert_eq!(booked(&first).await, turns);
}
