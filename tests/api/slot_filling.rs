//! A turn in which slots are still being filled, or that the user cancels, is not carried out.

use std::sync::Arc;

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Data, Fail, Params, Reply, Turn};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Gate, es, said};

#[derive(Deserialize)]
struct Booking {
    day: String,
    name: Option<String>,
}

async fn book(Params(booking): Params<Booking>, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    let name = booking.name.unwrap_or_default();
    Ok(Reply::text(format!("Booked for {}, {name}.", booking.day)))
}

async fn bot(gate: &Gate) -> TestBot {
    let bot = Bot::new().data(gate.clone()).intent("Book", book);
    TestBot::start(bot.prompt("day", &[("en", "Which day?"), ("de", "Welcher Tag?")])).await
}

/// A turn of the intent, with what `change` says of its slots.
fn turn(response_id: &str, change: Value) -> Value {
    let mut turn = es(response_id, "Book", json!({"day": "Monday", "name": "Zed"}));
    turn["queryResult"]["intent"]["name"] = json!("projects/p-1/agent/intents/5C-1");
    for (field, value) in change.as_object().unwrap() {
        turn["queryResult"][field] = value.clone();
    }
    turn
}

/// What Dialogflow keeps while it fills the slots of the intent 5c-1.
fn dialog(lifespan: u32) -> Value {
    let contexts = [
        "5c-1_id_dialog_context",
        "book_dialog_context",
        "book_dialog_params_day",
    ]
    .map(|id| {
        json!({
            "name": format!("projects/p-1/agent/sessions/s-1/contexts/{id}"),
            "lifespanCount": lifespan,
            "parameters": {"day": "", "name": "Zed"},
        })
    });
    json!(contexts)
}

#[rstest]
#[case::still_filling(
    json!({"allRequiredParamsPresent": false, "parameters": {"day": "", "name": "Zed"}, "fulfillmentText": "What day?"}),
    "What day?"
)]
#[case::all_there_but_the_platform_says_otherwise(
    json!({"allRequiredParamsPresent": false, "fulfillmentText": "What day?"}),
    "What day?"
)]
#[case::false_is_left_out_on_the_wire(
    json!({"outputContexts": dialog(2), "parameters": {"day": "", "name": "Zed"}, "fulfillmentText": "What day?"}),
    "What day?"
)]
#[case::agent_says_nothing(
    json!({"allRequiredParamsPresent": false, "parameters": {"day": "", "name": "Zed"}}),
    "Which day?"
)]
#[case::no_prompt_either(
    json!({"allRequiredParamsPresent": false, "parameters": {"day": "Monday", "last_name": ""}}),
    "What is the last name?"
)]
#[case::cancelled(
    json!({"cancelsSlotFilling": true, "allRequiredParamsPresent": false, "fulfillmentText": "Okay, cancelled."}),
    "Okay, cancelled."
)]
#[case::cancelled_with_all_there(
    json!({"cancelsSlotFilling": true, "allRequiredParamsPresent": true, "fulfillmentText": "Okay, cancelled."}),
    "Okay, cancelled."
)]
#[case::cancelled_without_a_word(
    json!({"cancelsSlotFilling": true, "parameters": {"day": ""}}),
    "All right, I have stopped."
)]
#[tokio::test]
async fn agents_own_text_goes_on_and_nothing_is_carried_out(#[case] change: Value, #[case] heard: &str) {
    let gate = Gate::opened();
    let bot = bot(&gate).await;
    let reply = bot.turn(&turn("r1", change)).await;
    assert_eq!((said(&reply), gate.entered()), (heard, 0));
    assert!(reply["outputContexts"].is_null(), "{reply}");
}

#[rstest]
#[case::nothing_is_said_of_slots(json!({}))]
#[case::all_are_filled(json!({"allRequiredParamsPresent": true, "outputContexts": dialog(1)}))]
#[case::dialog_is_over(json!({"outputContexts": dialog(0)}))]
#[case::dialog_is_of_another_intent(json!({"outputContexts": dialog(2), "intent": {"displayName": "Book"}}))]
#[tokio::test]
async fn turn_is_carried_out_unless_the_platform_says_that_slots_are_missing(#[case] change: Value) {
    let gate = Gate::opened();
    let bot = bot(&gate).await;
    let reply = bot.turn(&turn("r1", change)).await;
    assert_eq!((said(&reply), gate.entered()), ("Booked for Monday, Zed.", 1));
}

/// Knows the day, and asks on in the agent's words.
async fn knows_the_day(turn: Arc<Turn>) -> Result<Reply, Fail> {
    Ok(match (turn.cancels_slot_filling, turn.all_required_params_present) {
        (true, _) => Reply::text("Never mind."),
        (false, true) => Reply::text("Booked."),
        (false, false) => Reply::text(format!("On Tuesday. {}", turn.agent_text)).fill("day", "Tuesday"),
    })
}

#[tokio::test]
async fn intent_that_asks_to_be_called_for_slot_filling_sets_slots() {
    let bot = TestBot::start(Bot::new().intent("Book", knows_the_day).slot_filling()).await;
    let filling = json!({
        "outputContexts": dialog(2),
        "parameters": {"day": "", "name": ""},
        "fulfillmentText": "What is your name?",
    });
    let reply = bot.turn(&turn("r1", filling)).await;
    assert_eq!(said(&reply), "On Tuesday. What is your name?");
    let context = |id: &str| {
        json!({
            "name": format!("projects/p-1/agent/sessions/s-1/contexts/{id}"),
            "lifespanCount": 2,
            "parameters": {"day": "Tuesday", "name": "Zed"},
        })
    };
    assert_eq!(
        reply["outputContexts"],
        json!([context("5c-1_id_dialog_context"), context("book_dialog_context")])
    );
    // Where the platform keeps no dialog there is nothing to write it into.
    let reply = bot.turn(&turn("r2", json!({"allRequiredParamsPresent": false}))).await;
    assert_eq!((said(&reply), &reply["outputContexts"]), ("On Tuesday. ", &Value::Null));
    for (change, heard) in [
        (json!({"cancelsSlotFilling": true}), "Never mind."),
        (json!({"allRequiredParamsPresent": true}), "Booked."),
    ] {
        assert_eq!(said(&bot.turn(&turn(heard, change)).await), heard);
    }
}
