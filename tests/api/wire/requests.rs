//! Odd but legal requests are read as what they mean.

use std::collections::BTreeSet;

use rejoinder::testing::TestBot;
use rejoinder::{Api, Bot, Fail, Reply, Sentiment};
use rstest::rstest;
use serde_json::{Value, json};

use super::stage::{CX_SESSIONS, ES_SESSIONS, PAGE, Spoken, Stage, cx_turn, es_turn};

const ES_FULL: &str = include_str!("../../fixtures/wire/es_every_field.json");
const CX_FULL: &str = include_str!("../../fixtures/wire/cx_every_field.json");

#[tokio::test]
async fn every_field_of_es_can_be_read() {
    let stage = Stage::start().await;
    let (turn, raw) = stage.sees(ES_FULL).await;
    assert_eq!(raw, serde_json::from_str::<Value>(ES_FULL).unwrap());
    assert_eq!(turn.api, Api::EsV2beta1);
    assert_eq!(
        turn.session.as_str(),
        "projects/shop-1/locations/us/agent/environments/e/users/u/sessions/s"
    );
    assert_eq!(turn.response_id, "3c1b9f2e-6c1d-4e57-8f43-5d0d5a3f0c11-2f6a9d10");
    assert_eq!(
        (turn.intent.as_str(), turn.action.as_str()),
        ("Order Status", "order.status")
    );
    assert_eq!(
        (turn.text.as_str(), turn.language.as_str()),
        ("wo ist meine Bestellung", "de-AT")
    );
    assert_eq!(turn.parameters["order"], 41.0);
    assert_eq!(turn.confidence, Some(0.75));
    assert!(turn.is_fallback && turn.cancels_slot_filling && !turn.all_required_params_present);
    assert_eq!(
        turn.sentiment,
        Some(Sentiment {
            score: -0.5,
            magnitude: 0.5
        })
    );
    assert_eq!(turn.source, "telegram");
    assert_eq!(turn.payload["data"]["from"]["id"], 42);
    let context = turn.context("order").unwrap();
    assert_eq!(
        (context.lifespan, &context.parameters["id"]),
        (Some(999), &json!("A-7"))
    );
}

#[tokio::test]
async fn every_field_of_cx_can_be_read() {
    let stage = Stage::start().await;
    let (turn, raw) = stage.sees(CX_FULL).await;
    assert_eq!(raw, serde_json::from_str::<Value>(CX_FULL).unwrap());
    assert_eq!((turn.api, turn.session.as_str()), (Api::CxV3, CX_SESSIONS[1]));
    assert_eq!((turn.tag.as_str(), turn.intent.as_str()), ("order.status", "order"));
    assert_eq!((turn.event.as_str(), turn.text.as_str()), ("no-input", "4711"));
    assert_eq!(turn.language, "de");
    assert_eq!(
        Value::Object(turn.parameters.clone()),
        json!({
            "kept": {"a": 1}, "size": "L", "order": 41, "person": {"name": "Ada"}, "list": [1, "x"],
        })
    );
    assert_eq!(turn.confidence, Some(1.0));
    assert_eq!(
        turn.sentiment,
        Some(Sentiment {
            score: 0.25,
            magnitude: 1.0
        })
    );
    let page = turn.page.as_ref().unwrap();
    assert_eq!((page.name.as_str(), page.display_name.as_str()), (PAGE, "Order"));
    let states: Vec<&str> = page.form.iter().map(|field| field.state.as_str()).collect();
    assert_eq!(states, ["FILLED", "INVALID", "EMPTY", ""]);
    assert!(page.form[0].required && page.form[0].just_collected && !page.form[1].required);
    assert_eq!(turn.source, "web");
}

/// What a handler sees of these parameters of the session, the form, and the intent.
async fn cx_parameters(session: Value, form: Value, intent: Value) -> Value {
    let stage = Stage::start().await;
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["sessionInfo"]["parameters"] = session;
    turn["pageInfo"]["formInfo"] = json!({"parameterInfo": form});
    turn["intentInfo"] = json!({"displayName": "order", "parameters": intent});
    Value::Object(stage.sees(turn).await.0.parameters.clone())
}

#[tokio::test]
async fn cx_session_is_newer_than_what_the_form_and_the_intent_say() {
    let seen = cx_parameters(
        json!({"order": "made whole by an earlier fulfillment", "size": "L"}),
        json!([{"displayName": "Order", "state": "FILLED", "value": "as filled"}]),
        json!({"order": {"originalValue": "it", "resolvedValue": "as matched"}}),
    );
    assert_eq!(
        seen.await,
        json!({"order": "made whole by an earlier fulfillment", "size": "L"})
    );
}

#[tokio::test]
async fn cx_parameter_that_the_session_no_longer_has_does_not_come_back() {
    let seen = cx_parameters(
        json!({"user_id": "12345"}),
        json!([{"displayName": "pin", "state": "EMPTY"}]),
        json!({"pin": {"originalValue": "4711", "resolvedValue": "4711"}}),
    );
    assert_eq!(seen.await, json!({"user_id": "12345"}));
}

#[tokio::test]
async fn cx_form_and_intent_speak_where_no_session_does() {
    let form = json!([{"displayName": "size", "value": "L"}, {"displayName": "store", "value": null}]);
    let intent = json!({"size": {"resolvedValue": "M"}, "order": {"resolvedValue": 41}, "odd": 1, "gone": {}});
    let seen = cx_parameters(Value::Null, form.clone(), intent).await;
    assert_eq!(seen, json!({"size": "L", "order": 41}));
    let seen = cx_parameters(json!({"order": 41}), form, json!({})).await;
    assert_eq!(seen, json!({"size": "L", "order": 41}));
}

#[tokio::test]
async fn neutral_sentiment_is_one() {
    let neutral = Some(Sentiment {
        score: 0.0,
        magnitude: 0.0,
    });
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    for (words, analysis, sentiment) in [
        ("neutral", json!({"queryTextSentiment": {}}), neutral),
        ("absent", json!({}), None),
        ("null", json!({"queryTextSentiment": null}), None),
    ] {
        turn["queryResult"]["queryText"] = json!(words);
        turn["queryResult"]["sentimentAnalysisResult"] = analysis;
        assert_eq!(stage.sees(&turn).await.0.sentiment, sentiment, "{words}");
    }
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["sentimentAnalysisResult"] = json!({});
    assert_eq!(stage.sees(&turn).await.0.sentiment, neutral);
}

#[rstest]
#[case(json!(7), Some(7))]
#[case(json!(7.0), Some(7))]
#[case(json!("7"), Some(7))]
#[case(json!("7.0"), Some(7))]
#[case(json!(999), Some(999))]
#[case(json!(-1), Some(0))]
#[case(Value::Null, None)]
#[tokio::test]
async fn whole_number_is_read_however_it_is_written(#[case] count: Value, #[case] lifespan: Option<u32>) {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    let name = format!("{}/contexts/a", ES_SESSIONS[0]);
    turn["queryResult"]["outputContexts"] = json!([{"name": name, "lifespanCount": count}]);
    assert_eq!(stage.sees(turn).await.0.context("a").unwrap().lifespan, lifespan);
}

#[tokio::test]
async fn field_names_may_be_in_snake_case() {
    let stage = Stage::start().await;
    for full in [ES_FULL, CX_FULL] {
        let (camel, _) = stage.sees(full).await;
        // Elsewhere, as the same turn again would be given the same reply.
        let stage = Stage::start().await;
        let (snake, _) = stage.sees(snake_case(serde_json::from_str(full).unwrap())).await;
        assert_eq!(format!("{camel:?}"), format!("{snake:?}"));
    }
}

#[tokio::test]
async fn null_is_absent() {
    let stage = Stage::start().await;
    for (full, needed) in [(ES_FULL, "session"), (CX_FULL, "sessionInfo")] {
        let whole: Value = serde_json::from_str(full).unwrap();
        let fields: BTreeSet<&String> = whole.as_object().unwrap().keys().collect();
        for field in fields {
            if ["queryResult", needed].contains(&field.as_str()) {
                continue;
            }
            let mut turn = whole.clone();
            // Another turn each time, which the last one's reply is no answer to.
            if turn.get("queryResult").is_some() {
                turn["queryResult"]["queryText"] = json!(field);
            } else {
                turn["text"] = json!(field);
            }
            turn[field] = Value::Null;
            stage.sees(turn).await;
        }
    }
    let mut turn: Value = serde_json::from_str(ES_FULL).unwrap();
    for field in turn["queryResult"].as_object_mut().unwrap().values_mut() {
        *field = Value::Null;
    }
    let (seen, _) = stage.sees(turn).await;
    assert_eq!((seen.language.as_str(), seen.intent.as_str()), ("en", ""));
    assert!(seen.parameters.is_empty() && seen.contexts.is_empty() && seen.all_required_params_present);
}

#[tokio::test]
async fn empty_array_stands_for_an_empty_object() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["parameters"] = json!([]);
    turn["queryResult"]["fulfillmentMessages"] = json!([{"text": {"text": [null]}}, [], null]);
    turn["queryResult"]["webhookPayload"] = json!([]);
    turn["originalDetectIntentRequest"] = json!({"payload": []});
    let (seen, _) = stage.sees(turn).await;
    assert!(seen.parameters.is_empty() && seen.payload.is_empty());
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["sessionInfo"]["parameters"] = json!([]);
    turn["intentInfo"] = json!([]);
    turn["payload"] = json!([]);
    turn["pageInfo"]["formInfo"] = json!({"parameterInfo": {}});
    assert!(stage.sees(turn).await.0.parameters.is_empty());
}

#[tokio::test]
async fn nul_in_a_string_is_read_and_written() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["queryText"] = json!("a\0b");
    turn["queryResult"]["parameters"] = json!({"x\0": "\0"});
    turn["responseId"] = json!("\0");
    let (seen, _) = stage.sees(&turn).await;
    assert_eq!((seen.text.as_str(), &seen.parameters["x\0"]), ("a\0b", &json!("\0")));
    let reply = stage
        .answers(Spoken::V2, &turn, rejoinder::Reply::text("\0 is said"))
        .await;
    assert_eq!(reply["fulfillmentText"], "\0 is said");
}

#[tokio::test]
async fn source_inside_the_payload_counts() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["originalDetectIntentRequest"] = json!({"payload": {"source": "slack", "data": {"id": "42"}}});
    assert_eq!(stage.sees(turn).await.0.source, "slack");
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let stage = Stage::start().await;
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["callerId"] = json!("+1");
    turn["messages"] = json!([{"text": {"text": ["hi"], "redactedText": ["hi"]}, "source": "VIRTUAL_AGENT"}]);
    turn["pageInfo"]["new"] = json!({"deep": [1, {}]});
    stage.sees(turn).await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["agentId"] = json!("x");
    turn["queryResult"]["intent"]["x"] = json!([null]);
    assert_eq!(stage.sees(turn).await.0.api, Api::EsV2);
}

#[rstest]
#[case(json!([{"platform": "TELEPHONY", "telephonySynthesizeSpeech": {"text": "hi"}}]), "", Api::EsV2beta1)]
#[case(json!([{"text": {"text": ["hi"]}}, {"platform": "TELEPHONY", "text": {"text": ["hi"]}}]), "", Api::EsV2beta1)]
#[case(json!([{"platform": 10, "text": {"text": ["hi"]}}]), "", Api::EsV2beta1)]
#[case(json!([{"text": {"text": ["hi"]}}]), "GOOGLE_TELEPHONY", Api::EsV2beta1)]
#[case(json!([{"platform": "SLACK", "text": {"text": ["hi"]}}]), "slack", Api::EsV2)]
#[tokio::test]
async fn telephone_in_the_request_tells_v2beta1(#[case] messages: Value, #[case] source: &str, #[case] api: Api) {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["fulfillmentMessages"] = messages;
    turn["originalDetectIntentRequest"] =
        json!({"source": source, "payload": {"telephony": {"caller_id": "+15551234"}}});
    turn["alternativeQueryResults"] = Value::Null;
    assert_eq!(stage.sees(&turn).await.0.api, api);
}

#[tokio::test]
async fn byte_order_mark_is_skipped() {
    let stage = Stage::start().await;
    let (turn, raw) = stage.sees(format!("\u{feff}{}", es_turn(ES_SESSIONS[2]))).await;
    assert_eq!(
        (turn.session.as_str(), &raw["queryResult"]["queryText"]),
        (ES_SESSIONS[2], &json!("hello"))
    );
}

#[tokio::test]
async fn turns_may_be_posted_with_a_slash_at_the_end() {
    let stage = Stage::start().await;
    let request = stage.bot.http().post(stage.bot.url("/fulfillment/"));
    let request = request.header("content-type", "application/json");
    let response = request.body(es_turn(ES_SESSIONS[0]).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

async fn welcome() -> Result<Reply, Fail> {
    Ok(Reply::text("welcome"))
}

async fn pardon() -> Result<Reply, Fail> {
    Ok(Reply::text("pardon?"))
}

#[tokio::test]
async fn event_is_no_text_that_a_user_types() {
    let bot = TestBot::start(Bot::new().event("WELCOME", welcome).fallback(pardon)).await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["queryText"] = json!("WELCOME");
    assert_eq!(bot.turn(&turn).await["fulfillmentText"], "welcome");
    turn["queryResult"]["intent"]["isFallback"] = json!(true);
    assert_eq!(bot.turn(&turn).await["fulfillmentText"], "pardon?");
}

/// The names of the protocol's own fields in snake case; free-form objects as they are.
fn snake_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let free = ["parameters", "payload", "metadata", "value"].contains(&name.as_str());
                let mut snake = String::new();
                for letter in name.chars() {
                    if letter.is_ascii_uppercase() {
                        snake.push('_');
                    }
                    snake.push(letter.to_ascii_lowercase());
                }
                (snake, if free { value } else { snake_case(value) })
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(snake_case).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
