//! The defects of earlier fulfillment libraries, which this one must not have.
//!
//! | # | what they do | test |
//! |---|---|---|
//! | 1, 10 | read or write a context's name by position | `context_is_read_and_written_in_every_session_shape` |
//! | 2, 9 | leave an unknown intent waiting, or fail with a 500 | `unknown_intent_is_refused_naming_it`, `unknown_intent_gets_the_fallback` |
//! | 3, 16 | send nothing, or an empty 200, when a handler fails | `failing_handler_still_speaks` |
//! | 4 | send nothing when no message suits the platform | `message_that_the_api_lacks_is_not_silence` |
//! | 5 | send a field at the end that v2 refuses | `end_adds_no_field_to_v2` |
//! | 6 | turn numbers and booleans into strings | `parameters_keep_their_types` |
//! | 7, 14 | refuse the right header, or fail with a 500 for the wrong one | `right_credential_is_admitted_and_wrong_one_is_401` |
//! | 8, 11 | write a short name, or the session twice | `context_written_again_has_one_full_name` |
//! | 12 | send an empty follow-up event with every reply | `reply_has_no_follow_up_event` |
//! | 13 | match a context by the end of its name | `context_is_not_matched_by_the_end_of_its_name` |
//! | 14 | keep intents and actions in one map | `intent_and_action_of_one_name_both_answer` |
//! | 15 | load code by a name from the body | `intent_name_is_never_a_path` |
//! | 17 | compare context names as written | `context_is_found_whatever_its_case` |

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Context, Fail, Kept, Message, Params, Reply};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stage::{CX_SESSIONS, ES_SESSIONS, Spoken, Stage, cx_turn, es_turn};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: Value,
}

impl Kept for Order {
    const CONTEXT: &'static str = "Order";
}

async fn next_order(order: Option<Context<Order>>) -> Result<Reply, Fail> {
    let id = match order {
        Some(Context(order)) => json!([order.id]),
        None => json!([]),
    };
    Ok(Reply::text(id.to_string()).keep(Order { id }))
}

async fn hello() -> Result<Reply, Fail> {
    Ok(Reply::text("hello"))
}

async fn goodbye() -> Result<Reply, Fail> {
    Ok(Reply::text("goodbye"))
}

async fn panics() -> Result<Reply, Fail> {
    panic!("a bug")
}

async fn fails() -> Result<Reply, Fail> {
    Err(Fail::bug("secret detail"))
}

fn text(reply: &Value) -> &str {
    reply["fulfillmentText"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn context_is_read_and_written_in_every_session_shape() {
    let bot = TestBot::start(Bot::new().fallback(next_order)).await;
    for session in ES_SESSIONS {
        let mut turn = es_turn(session);
        turn["queryResult"]["outputContexts"] = json!([
            {"name": format!("{session}/contexts/order"), "lifespanCount": 4, "parameters": {"id": 7}},
        ]);
        let reply = bot.turn(&turn).await;
        assert_eq!(text(&reply), "[7]", "{session}");
        let written = json!([{
            "name": format!("{session}/contexts/order"), "lifespanCount": 5, "parameters": {"id": [7], "rejoinder": {"id": [7]}},
        }]);
        assert_eq!(reply["outputContexts"], written);
    }
    for session in CX_SESSIONS {
        let mut turn = cx_turn(session);
        turn["sessionInfo"]["parameters"] = json!({"order": {"id": 7}});
        let reply = bot.turn(&turn).await;
        assert_eq!(reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0], "[7]");
        assert_eq!(
            reply["sessionInfo"]["parameters"],
            json!({"order": {"id": [7], "rejoinder": {"lifespan": 5}}})
        );
    }
}

#[tokio::test]
async fn unknown_intent_is_refused_naming_it() {
    let bot = TestBot::start(Bot::new().intent("Greet", hello)).await;
    let (status, refusal) = bot.post(es_turn(ES_SESSIONS[0]).to_string()).await;
    assert_eq!(status, 400);
    assert_eq!(refusal["error"]["field"], "queryResult.intent.displayName");
    assert!(
        refusal["error"]["message"].as_str().unwrap().contains("Anything"),
        "{refusal}"
    );
    let (status, refusal) = bot.post(cx_turn(CX_SESSIONS[0]).to_string()).await;
    assert_eq!(
        (status, &refusal["error"]["field"]),
        (400, &json!("fulfillmentInfo.tag"))
    );
}

#[tokio::test]
async fn unknown_intent_gets_the_fallback() {
    let bot = TestBot::start(Bot::new().intent("Greet", hello).fallback(goodbye)).await;
    assert_eq!(text(&bot.turn(&es_turn(ES_SESSIONS[0])).await), "goodbye");
}

#[tokio::test]
async fn failing_handler_still_speaks() {
    let bot = TestBot::start(
        Bot::new()
            .intent("Panics", panics)
            .intent("Anything", fails)
            .fallback(hello),
    )
    .await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    let failed = bot.turn(&turn).await;
    assert!(text(&failed).starts_with("Sorry"), "{failed}");
    assert!(!failed.to_string().contains("secret"), "{failed}");
    turn["queryResult"]["intent"]["displayName"] = json!("Panics");
    assert!(text(&bot.turn(&turn).await).starts_with("Sorry"));
    turn["queryResult"]["intent"]["displayName"] = json!("Other");
    assert_eq!(text(&bot.turn(&turn).await), "hello");
}

#[tokio::test]
async fn message_that_the_api_lacks_is_not_silence() {
    let stage = Stage::start().await;
    let played = Message::PlayAudio("https://example.com/a.mp3".into());
    let reply = stage.says(Spoken::V2, Reply::message(played)).await;
    assert_eq!(text(&reply), "You can listen to it here: https://example.com/a.mp3");
    let blank = stage.says(Spoken::V3, Reply::text(" ")).await;
    let said = &blank["fulfillmentResponse"]["messages"][0]["text"]["text"][0];
    assert!(said.as_str().unwrap().starts_with("Sorry"), "{blank}");
}

#[tokio::test]
async fn end_adds_no_field_to_v2() {
    let stage = Stage::start().await;
    let reply = stage.says(Spoken::V2, Reply::text("bye").end()).await;
    let said = json!({"fulfillmentText": "bye", "fulfillmentMessages": [{"text": {"text": ["bye"]}}]});
    assert_eq!(reply, said);
    let reply = stage.says(Spoken::V2beta1, Reply::text("bye").end()).await;
    assert_eq!(reply["endInteraction"], true);
}

#[tokio::test]
async fn parameters_keep_their_types() {
    let mixed =
        json!({"five": 5, "half": 0.5, "yes": true, "text": "5", "none": null, "list": [1, "1"], "map": {"a": 1}});
    async fn back(Params(given): Params<serde_json::Map<String, Value>>) -> Result<Reply, Fail> {
        Ok(Reply::text("kept").keep(Order {
            id: Value::Object(given),
        }))
    }
    let bot = TestBot::start(Bot::new().fallback(back)).await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["parameters"] = mixed.clone();
    let reply = bot.turn(&turn).await;
    let kept = &reply["outputContexts"][0]["parameters"]["id"];
    for name in ["five", "half", "yes", "text", "list", "map"] {
        assert_eq!(kept[name], mixed[name], "{name}");
    }
}

#[tokio::test]
async fn right_credential_is_admitted_and_wrong_one_is_401() {
    let bot = TestBot::start_with(Bot::new().fallback(hello), |settings| {
        settings.doors.general.auth.auth_bearer = Some(SecretString::from("the-right-token-of-this-test"));
    })
    .await;
    let body = es_turn(ES_SESSIONS[0]).to_string();
    for (token, expected) in [("the-right-token-of-this-test", 200), ("another", 401)] {
        let request = bot
            .http()
            .post(bot.url("/fulfillment"))
            .header("content-type", "application/json")
            .bearer_auth(token)
            .body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expected, "{token}");
        assert_eq!(response.headers().contains_key("www-authenticate"), expected == 401);
    }
    assert_eq!(bot.post(body).await.0, 401);
}

#[tokio::test]
async fn context_written_again_has_one_full_name() {
    let bot = TestBot::start(Bot::new().fallback(next_order)).await;
    let session = "projects/my-shop-12ab/agent/sessions/0e4b8c5e-4f0a-4a87-9b64-1f3c2d7e8a90";
    let mut turn = es_turn(session);
    let mut deep = json!([]);
    for _ in 0..3 {
        let reply = bot.turn(&turn).await;
        let written = &reply["outputContexts"];
        assert_eq!(written[0]["name"], format!("{session}/contexts/order"));
        assert_eq!(written[0]["parameters"]["id"], deep);
        deep = json!([deep]);
        turn["queryResult"]["outputContexts"] = written.clone();
    }
}

#[tokio::test]
async fn reply_has_no_follow_up_event() {
    let stage = Stage::start().await;
    for api in [Spoken::V2, Spoken::V2beta1] {
        assert_eq!(stage.says(api, Reply::text("hi")).await.get("followupEventInput"), None);
    }
}

#[tokio::test]
async fn context_is_not_matched_by_the_end_of_its_name() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["outputContexts"] = json!([
        {"name": format!("{}/contexts/cancel-order", ES_SESSIONS[0]), "parameters": {"id": 1}},
        {"name": format!("{}/contexts/order-2", ES_SESSIONS[0]), "parameters": {"id": 2}},
    ]);
    let (seen, _) = stage.sees(&turn).await;
    assert!(seen.context("order").is_none());
    assert_eq!(seen.context("cancel-order").unwrap().parameters["id"], 1);
}

#[tokio::test]
async fn intent_and_action_of_one_name_both_answer() {
    let bot = TestBot::start(Bot::new().intent("greet", hello).action("greet", goodbye)).await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["intent"]["displayName"] = json!("greet");
    assert_eq!(text(&bot.turn(&turn).await), "hello");
    turn["queryResult"]["intent"]["displayName"] = json!("Another");
    turn["queryResult"]["action"] = json!("greet");
    assert_eq!(text(&bot.turn(&turn).await), "goodbye");
}

#[tokio::test]
async fn intent_name_is_never_a_path() {
    let bot = TestBot::start(Bot::new().intent("Greet", hello)).await;
    for name in [
        "../../../etc/passwd",
        "/etc/passwd",
        "get_account_balance",
        "Greet\0",
        "greet",
    ] {
        let mut turn = es_turn(ES_SESSIONS[0]);
        turn["queryResult"]["intent"]["displayName"] = json!(name);
        let (status, refusal) = bot.post(turn.to_string()).await;
        assert_eq!(
            (status, &refusal["error"]["code"]),
            (400, &json!("no_handler")),
            "{name}"
        );
        assert!(!refusal.to_string().contains("src/"), "{refusal}");
    }
}

#[tokio::test]
async fn context_is_found_whatever_its_case() {
    let bot = TestBot::start(Bot::new().fallback(next_order)).await;
    for written in ["order", "Order", "ORDER"] {
        let mut turn = es_turn(ES_SESSIONS[0]);
        let context = json!({"name": format!("{}/contexts/{written}", ES_SESSIONS[0]), "parameters": {"id": 7}});
        turn["queryResult"]["outputContexts"] = json!([context]);
        assert_eq!(text(&bot.turn(&turn).await), "[7]", "{written}");
        let mut turn = cx_turn(CX_SESSIONS[0]);
        turn["sessionInfo"]["parameters"] = json!({written: {"id": 7}});
        let reply = bot.turn(&turn).await;
        assert_eq!(
            reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0], "[7]",
            "{written}"
        );
    }
}
