//! What is kept in a context is read back as it was, whatever the platform has written into the context since.

use std::sync::Arc;

use rejoinder::session::ContextId;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Context, Fail, Kept, Reply, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stage::{CX_SESSIONS, ES_SESSIONS, cx_turn, es_turn};
use crate::support::said;

#[derive(Debug, Serialize, Deserialize)]
struct Trip {
    to: String,
    nights: u32,
}

impl Kept for Trip {
    const CONTEXT: &'static str = "trip";
    const LIFESPAN: u32 = 2;
}

async fn plan() -> Result<Reply, Fail> {
    Ok(Reply::text("planned").keep(Trip {
        to: "Graz".to_owned(),
        nights: 3,
    }))
}

async fn tell(Context(trip): Context<Trip>) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("{} nights in {}", trip.nights, trip.to)))
}

async fn tell_if_known(trip: Option<Context<Trip>>) -> Result<Reply, Fail> {
    Ok(Reply::text(trip.map_or("nowhere".to_owned(), |Context(trip)| trip.to)))
}

/// Keeps the context on, as it finds it.
async fn keep_on(turn: Arc<Turn>) -> Result<Reply, Fail> {
    let found = turn.context("trip").unwrap();
    let id = ContextId::parse(&found.id).unwrap();
    Ok(Reply::text("kept").context(id, 5, found.parameters.clone()))
}

async fn bot() -> TestBot {
    let bot = Bot::new().intent("Plan", plan).intent("Keep on", keep_on);
    TestBot::start(bot.intent("Tell", tell).fallback(tell_if_known)).await
}

const LOST: &str = "I have lost track of what that refers to. Could you tell me again?";

/// A turn with this in the context.
fn tell_with(parameters: Value) -> Value {
    let session = ES_SESSIONS[1];
    let mut turn = es_turn(session);
    turn["queryResult"]["intent"]["displayName"] = json!("Tell");
    turn["queryResult"]["outputContexts"] =
        json!([{"name": format!("{session}/contexts/trip"), "lifespanCount": 4, "parameters": parameters}]);
    turn
}

#[tokio::test]
async fn parameters_of_later_turns_do_not_reach_what_is_kept() {
    let bot = bot().await;
    for session in ES_SESSIONS {
        let mut story = bot.story(session);
        let planned = story.say("Plan", json!({"to": "Graz", "nights": 3})).await;
        let kept = json!({"to": "Graz", "nights": 3, "rejoinder": {"to": "Graz", "nights": 3}});
        assert_eq!(planned["outputContexts"][0]["parameters"], kept);
        assert_eq!(
            said(&story.say("Tell", json!({"to": "", "nights": ""})).await),
            "3 nights in Graz"
        );
        assert_eq!(
            said(&story.say("Tell", json!({"to": "Linz", "nights": 1})).await),
            "3 nights in Graz"
        );
        // It was kept for two turns.
        assert_eq!(said(&story.say("Tell", json!({"to": "Linz", "nights": 1})).await), LOST);
    }
}

#[tokio::test]
async fn context_that_the_agent_has_made_is_read_flat() {
    let bot = bot().await;
    let turn = tell_with(json!({"to": "Wien", "nights": 2.0, "nights.original": "two"}));
    assert_eq!(said(&bot.turn(&turn).await), "2 nights in Wien");
}

#[tokio::test]
async fn context_that_is_kept_on_as_it_was_found_holds_what_it_held() {
    let bot = bot().await;
    let mut story = bot.story(ES_SESSIONS[0]);
    story.say("Plan", json!({})).await;
    for _ in 0..2 {
        let reply = story.say("Keep on", json!({"day": "Monday"})).await;
        let held = json!({"to": "Graz", "nights": 3, "day": "Monday", "day.original": "Monday"});
        let mut written = held.clone();
        written["rejoinder"] = held;
        assert_eq!(reply["outputContexts"][0]["parameters"], written);
    }
    assert_eq!(said(&story.say("Tell", json!({})).await), "3 nights in Graz");
}

#[tokio::test]
async fn session_parameter_of_cx_holds_what_is_kept_once() {
    let bot = bot().await;
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["intentInfo"] = json!({"displayName": "Plan"});
    let kept = bot.turn(&turn).await["sessionInfo"]["parameters"].clone();
    let once = json!({"to": "Graz", "nights": 3, "rejoinder": {"lifespan": 2}});
    assert_eq!(kept, json!({"trip": once}));
    turn["intentInfo"] = json!({"displayName": "Tell"});
    turn["sessionInfo"]["parameters"] = kept;
    turn["sessionInfo"]["parameters"]["to"] = json!("Linz");
    let told = &bot.turn(&turn).await["fulfillmentResponse"]["messages"][0]["text"]["text"][0];
    assert_eq!(*told, "3 nights in Graz");
}

#[tokio::test]
async fn context_that_cannot_be_read_is_asked_for_again() {
    let bot = bot().await;
    for unreadable in [
        json!({"to": "", "nights": 2}),
        json!({"nights": 2}),
        json!({"to": "Wien", "nights": -1}),
        json!({"to": {"city": "Wien"}, "nights": 2}),
        json!({"to": "Wien", "nights": 2, "rejoinder": {"to": "Wien"}}),
        json!({}),
    ] {
        let mut turn = tell_with(unreadable);
        assert_eq!(said(&bot.turn(&turn).await), LOST, "{turn}");
        turn["queryResult"]["intent"]["displayName"] = json!("Anything");
        assert_eq!(said(&bot.turn(&turn).await), "nowhere", "{turn}");
    }
}
