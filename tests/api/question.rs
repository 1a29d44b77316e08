//! A late reply goes to whoever asks the same, and to nobody who asks anything else.

use std::sync::Arc;

use chrono::TimeDelta;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Context, Data, Fail, Kept, Raw, Reply, Turn};
use rstest::rstest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{Gate, es, eventually, said};

const SLOW: &str = "Still looking. Ask me again.";

/// An ES budget of a third of a second.
fn hurried(settings: &mut TestSettings) {
    settings.turns.answer_margin_ms = 4_700;
}

#[derive(Deserialize, Serialize)]
struct Subject {
    id: String,
}

impl Kept for Subject {
    const CONTEXT: &'static str = "subject";
}

/// “My balance”, “when does it arrive?”: nothing but the context says of whom or of what.
async fn tells(subject: Option<Context<Subject>>, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    let Some(Context(subject)) = subject else {
        return Ok(Reply::text("Of whom?"));
    };
    Ok(Reply::text(format!("That of {}.", subject.id)).keep(subject))
}

fn bot(gate: &Gate) -> Bot {
    Bot::new()
        .data(gate.clone())
        .intent("Tell", tells)
        .slow(&[("en", SLOW)])
}

/// The question, about `subject`.
fn about(response_id: &str, subject: Option<&str>) -> Value {
    let mut turn = es(response_id, "Tell", json!({}));
    if let Some(id) = subject {
        turn["queryResult"]["outputContexts"] = json!([context("subject", 5, json!({"id": id}))]);
    }
    turn
}

fn context(id: &str, lifespan: u32, parameters: Value) -> Value {
    let name = format!("projects/p-1/agent/sessions/s-1/contexts/{id}");
    json!({"name": name, "lifespanCount": lifespan, "parameters": parameters})
}

async fn kept(bot: &TestBot) -> i64 {
    sqlx::query_scalar("select count(*) from rejoinder.late_replies where taken_by is null")
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

/// What each of those who ask after `first` hears, once the reply to `first` is kept.
async fn heard_after(first: Value, others: Vec<Value>) -> Vec<String> {
    let gate = Gate::closed();
    let bot = TestBot::start_with(bot(&gate), hurried).await;
    assert_eq!(said(&bot.turn(&first).await), SLOW);
    gate.open();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    let mut heard = Vec::new();
    for other in others {
        heard.push(said(&bot.turn(&other).await).to_owned());
    }
    heard.push(gate.entered().to_string());
    heard
}

#[tokio::test]
async fn late_reply_about_one_customer_is_not_given_to_another_nor_to_nobody() {
    let others = vec![about("r2", None), about("r3", Some("Bob")), about("r4", Some("Ada"))];
    let heard = heard_after(about("r1", Some("Ada")), others).await;
    assert_eq!(heard, ["Of whom?", "That of Bob.", "That of Ada.", "3"]);
}

#[tokio::test]
async fn late_reply_that_knew_of_nobody_is_not_given_to_a_customer() {
    let others = vec![about("r2", Some("Ada")), about("r3", None)];
    let heard = heard_after(about("r1", None), others).await;
    assert_eq!(heard, ["That of Ada.", "Of whom?", "2"]);
}

/// What the platform counts, and what the handler does not read, is no part of the question.
#[tokio::test]
async fn late_reply_is_given_when_the_same_is_asked_later_and_in_other_words() {
    let mut again = about("r2", Some("Ada"));
    again["queryResult"]["queryText"] = json!("well?");
    again["queryResult"]["outputContexts"] = json!([
        context("__system_counters__", 1, json!({"no-match": 2})),
        context("subject", 4, json!({"id": "Ada"})),
        context("another", 2, json!({"n": 1})),
    ]);
    let heard = heard_after(about("r1", Some("Ada")), vec![again]).await;
    assert_eq!(heard, ["That of Ada.", "1"]);
}

#[tokio::test]
async fn run_for_one_customer_is_not_joined_by_another_nor_by_nobody() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(bot(&gate), hurried).await;
    for (number, subject) in [(1, Some("Ada")), (2, None), (3, Some("Bob"))] {
        assert_eq!(said(&bot.turn(&about(&format!("r{number}"), subject)).await), SLOW);
        assert_eq!(gate.entered(), number);
    }
    // The same question joins the run that there is.
    assert_eq!(said(&bot.turn(&about("r4", Some("Ada"))).await), SLOW);
    assert_eq!(gate.entered(), 3);
    gate.open();
    eventually("all late replies are kept", async || kept(&bot).await == 3).await;
    for (subject, heard) in [
        (None, "Of whom?"),
        (Some("Bob"), "That of Bob."),
        (Some("Ada"), "That of Ada."),
    ] {
        assert_eq!(said(&bot.turn(&about("r5", subject)).await), heard);
    }
    assert_eq!(gate.entered(), 3);
}

#[tokio::test]
async fn late_reply_about_one_order_is_not_given_about_another_by_another_replica() {
    let (gate, others_gate) = (Gate::closed(), Gate::opened());
    let first = TestBot::start_with(bot(&gate), hurried).await;
    let second = TestBot::start_with(bot(&others_gate), |settings| settings.database = Some(first.database())).await;
    assert_eq!(said(&first.turn(&about("r1", Some("10043"))).await), SLOW);
    gate.open();
    eventually("the late reply is kept", async || kept(&first).await == 1).await;
    for (subject, heard) in [(Some("10041"), "That of 10041."), (None, "Of whom?")] {
        let reply = second.turn(&about("r2", subject)).await;
        assert_eq!(said(&reply), heard);
        assert!(!reply.to_string().contains("10043"), "{reply}");
    }
    assert_eq!(others_gate.entered(), 2);
    eventually("the other replica gives it to whoever asks for it", async || {
        let reply = second.turn(&about("r3", Some("10043"))).await;
        assert_eq!(said(&reply), "That of 10043.");
        kept(&first).await == 0
    })
    .await;
}

#[tokio::test]
async fn late_reply_waits_for_another_turn_where_the_conversation_has_been_moved() {
    let gate = Gate::closed();
    let bot = TestBot::start_with(bot(&gate), hurried).await;
    assert_eq!(said(&bot.turn(&about("r1", Some("10043"))).await), SLOW);
    gate.open();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    sqlx::query(
        "with moved as (
             insert into rejoinder.gotos (id, session, kind, name, parameters, position, created_at, expires_at)
             values (gen_random_uuid(), $1, 'context', 'subject', '{\"id\": \"10041\"}', 1, $2, $3)
         )
         select pg_notify('rejoinder_goto', $1)",
    )
    .bind("projects/p-1/agent/sessions/s-1")
    .bind(bot.clock().now())
    .bind(bot.clock().now() + TimeDelta::hours(1))
    .execute(bot.pool())
    .await
    .unwrap();
    eventually("the service has heard of the goto", async || {
        let probe = es("probe", "Tell", json!({"probe": gate.entered()}));
        said(&bot.turn(&probe).await) == "That of 10041."
    })
    .await;
    // The probe has taken it; now it is for the next turn.
    sqlx::query("update rejoinder.gotos set taken_by = null")
        .execute(bot.pool())
        .await
        .unwrap();
    assert_eq!(said(&bot.turn(&about("r2", Some("10043"))).await), "That of 10041.");
    assert_eq!(said(&bot.turn(&about("r3", Some("10043"))).await), "That of 10043.");
}

/// Answers by whatever is in the turn.
async fn sees_all(turn: Arc<Turn>, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text(format!("{} {} {}", turn.text, turn.action, turn.source)))
}

/// Answers by whatever is in the request.
async fn sees_raw(Raw(request): Raw, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text(request["queryResult"]["diagnosticInfo"].to_string()))
}

#[rstest]
#[case("/queryResult/queryText", json!("other words"))]
#[case("/queryResult/action", json!("another"))]
#[case("/originalDetectIntentRequest", json!({"source": "telegram"}))]
#[case("/queryResult/outputContexts", json!([context("any", 5, json!({}))]))]
#[tokio::test]
async fn handler_that_sees_the_whole_turn_is_given_the_late_reply_to_the_whole_turn(
    #[case] field: &str,
    #[case] other: Value,
) {
    is_another_question(Bot::new().intent("Tell", sees_all), field, other).await;
}

#[tokio::test]
async fn handler_that_sees_the_request_is_given_the_late_reply_to_the_whole_request() {
    let bot = Bot::new().intent("Tell", sees_raw);
    is_another_question(bot, "/queryResult/diagnosticInfo", json!({"n": 2})).await;
}

async fn is_another_question(bot: Bot, field: &str, other: Value) {
    let gate = Gate::closed();
    let bot = TestBot::start_with(bot.slow(&[("en", SLOW)]).data(gate.clone()), hurried).await;
    let mut first = es("r1", "Tell", json!({}));
    first["originalDetectIntentRequest"] = json!({});
    first["queryResult"]["action"] = json!("one");
    first["queryResult"]["outputContexts"] = json!([]);
    first["queryResult"]["diagnosticInfo"] = json!({"n": 1});
    assert_eq!(said(&bot.turn(&first).await), SLOW);
    gate.open();
    eventually("the late reply is kept", async || kept(&bot).await == 1).await;
    let mut asked = first.clone();
    asked["responseId"] = json!("r2");
    *asked.pointer_mut(field).unwrap() = other;
    bot.turn(&asked).await;
    assert_eq!(gate.entered(), 2, "the late reply was given to another question");
    first["responseId"] = json!("r3");
    bot.turn(&first).await;
    assert_eq!(
        (gate.entered(), kept(&bot).await),
        (2, 0),
        "the late reply was not given"
    );
}
