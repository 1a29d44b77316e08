//! What `docs/dialogflow.md` says a bot made with dialogflow-fulfillment becomes: every line of its table, compiled and
//! run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rejoinder::reply::message::{Card, CardButton, Image, QuickReplies, SimpleResponse};
use rejoinder::session::ContextId;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{
    Bot, Context, Fail, FollowUp, Kept, Lang, Message, NoSettings, Params, Platform, Raw, Reply, Texts, Turn,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::support::{es, said};

const PAGE: &str = include_str!("../../docs/dialogflow.md");

#[derive(Deserialize)]
struct Query {
    order_number: String,
}

#[derive(Deserialize, Serialize)]
struct Order {
    number: String,
}

impl Kept for Order {
    const CONTEXT: &'static str = "order";
}

async fn order_status(Params(query): Params<Query>) -> Result<Reply, Fail> {
    let number = query.order_number;
    Ok(Reply::text(format!("Order {number} has shipped.")).keep(Order { number }))
}

async fn arrival(order: Option<Context<Order>>) -> Result<Reply, Fail> {
    let Context(order) = order.ok_or_else(|| Fail::missing("order_number"))?;
    Ok(Reply::text(format!("Order {} arrives on Friday.", order.number)).keep_for(2, order))
}

async fn forget() -> Result<Reply, Fail> {
    Ok(Reply::text("Forgotten.").forget::<Order>())
}

async fn cart(turn: Arc<Turn>) -> Result<Reply, Fail> {
    let held = turn.kept("cart").cloned().unwrap_or_default();
    let id = ContextId::parse("cart").map_err(Fail::bug)?;
    Ok(Reply::text(format!("{} things", held.len())).context(id, 3, turn.parameters.clone()))
}

async fn greet() -> Result<Reply, Fail> {
    let payload = object(json!({"text": "Hi"}));
    let welcome = Reply::text("Hello").and(Message::Text(vec!["And welcome".to_owned()]));
    Ok(welcome
        .on(Platform::Slack, Message::Text(vec!["Hi *there*".to_owned()]))
        .on(Platform::Telegram, Message::Payload(payload)))
}

async fn show() -> Result<Reply, Fail> {
    let [title, subtitle, text] = ["Laptop", "12 left", "Buy"].map(str::to_owned);
    let [image_uri, postback] = ["https://example.com/a.png", "https://example.com/buy"].map(str::to_owned);
    let image = Image {
        image_uri: image_uri.clone(),
        accessibility_text: title.clone(),
    };
    let card = Card {
        title: title.clone(),
        subtitle,
        image_uri,
        buttons: vec![CardButton { text, postback }],
    };
    let quick_replies = vec!["Yes".to_owned(), "No".to_owned()];
    let simple = SimpleResponse {
        text_to_speech: "Twelve are left".to_owned(),
        ..SimpleResponse::default()
    };
    Ok(Reply::message(Message::Card(card))
        .and(Message::Image(image))
        .and(Message::QuickReplies(QuickReplies { title, quick_replies }))
        .on(Platform::ActionsOnGoogle, Message::SimpleResponses(vec![simple]))
        .payload(object(json!({"slack": {"text": "Laptop"}}))))
}

async fn told(turn: Arc<Turn>, lang: Lang, Raw(raw): Raw) -> Result<Reply, Fail> {
    let hello = lang.pick([("en", "Hello"), ("de", "Guten Tag")]);
    let all = json!({
        "hello": hello,
        "query": turn.text,
        "locale": turn.language,
        "intent": turn.intent,
        "action": turn.action,
        "session": turn.session.as_str(),
        "source": turn.source,
        "original": turn.payload,
        "console": turn.agent_text,
        "alternatives": raw["alternativeQueryResults"],
        "parameters": turn.parameters,
        "contexts": turn.contexts.len(),
    });
    Ok(Reply::text(all.to_string()))
}

async fn pay() -> Result<FollowUp, Fail> {
    Ok(FollowUp::event("PAY").parameter("amount", 5))
}

async fn bye() -> Result<Reply, Fail> {
    Ok(Reply::text("Bye").end())
}

async fn broken() -> Result<Reply, Fail> {
    Err(Fail::bug("there is no such table"))
}

async fn cancel() -> Result<Reply, Fail> {
    Ok(Reply::text("Cancelled."))
}

async fn not_understood() -> Result<Reply, Fail> {
    Ok(Reply::text("Sorry?"))
}

async fn report() -> Result<Reply, Fail> {
    std::future::pending().await
}

const SLOW: Texts = &[("en", "I am still counting."), ("de", "Ich zähle noch.")];

#[rustfmt::skip] // as in the page
fn bot(_: &NoSettings) -> Bot {
    Bot::new()
        .intent("Order Status", order_status)
        .intent("Arrival", arrival).intent("Forget", forget).intent("Cart", cart).intent("Greet", greet)
        .intent("Show", show).intent("Told", told).intent("Pay", pay).intent("Bye", bye).intent("Broken", broken)
        .action("order.cancel", cancel)
        .intent("Report", report).slow(SLOW)
        .fallback(not_understood)
}

/// It is compiled here; other tests run the `main` of the program.
mod program {
    use super::bot;

    rejoinder::main!(bot);
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn start() -> TestBot {
    TestBot::start_with(bot(&NoSettings {}), |settings: &mut TestSettings| {
        settings.turns.answer_margin_ms = 4_800;
    })
    .await
}

async fn ask(intent: &str) -> Value {
    start().await.turn(&es("r", intent, json!({}))).await
}

/// What the second column of the table holds in backticks.
fn new_ways() -> Vec<&'static str> {
    let (_, table) = PAGE.split_once("| dialogflow-fulfillment | Rejoinder |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    // A bar in a column would end it, so there is none.
    let columns = rows.map(|row| row.split('|').nth(2).unwrap());
    columns
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_line_of_the_table_is_in_the_code_that_is_tried_here() {
    // As rustfmt breaks lines, or not.
    let solid = |text: &str| {
        let text: String = text.split_whitespace().collect();
        [",}", ",]", ",)"]
            .iter()
            .fold(text, |text, end| text.replace(end, &end[1..]))
    };
    let source = solid(include_str!("dialogflow_fulfillment.rs"));
    let ways = new_ways();
    let unique: BTreeSet<_> = ways.iter().collect();
    assert!(unique.len() >= 35, "{unique:?}");
    for way in ways {
        assert!(source.contains(&solid(way)), "{way} is not tried");
    }
}

#[tokio::test]
async fn intents_actions_and_what_is_unknown_find_their_handlers() {
    let bot = start().await;
    let shipped = bot.turn(&es("r1", "Order Status", json!({"order_number": 7}))).await;
    assert_eq!(said(&shipped), "Order 7 has shipped.");
    let mut cancel = es("r2", "whatever it is called", json!({}));
    cancel["queryResult"]["action"] = "order.cancel".into();
    assert_eq!(said(&bot.turn(&cancel).await), "Cancelled.");
    assert_eq!(said(&bot.turn(&es("r3", "Unknown", json!({}))).await), "Sorry?");
}

#[tokio::test]
async fn contexts_are_kept_read_and_ended() {
    let bot = start().await;
    let mut story = bot.story("projects/p/agent/sessions/s");
    let asked = story.say("Arrival", json!({"order_number": ""})).await;
    assert_eq!(said(&asked), "What is the order number?");
    let kept = story.say("Order Status", json!({"order_number": "7"})).await;
    assert_eq!(kept["outputContexts"][0]["lifespanCount"], 5);
    let read = story.say("Arrival", json!({"order_number": ""})).await;
    assert_eq!(said(&read), "Order 7 arrives on Friday.");
    assert_eq!(read["outputContexts"][0]["lifespanCount"], 2);
    story.say("Forget", json!({})).await;
    assert_eq!(
        said(&story.say("Arrival", json!({"order_number": ""})).await),
        "What is the order number?"
    );
    assert_eq!(
        said(&story.say("Cart", json!({"apples": 2, "pears": 1})).await),
        "0 things"
    );
    assert_eq!(said(&story.say("Cart", json!({})).await), "2 things");
}

#[tokio::test]
async fn texts_and_payloads_are_those_of_their_platforms() {
    let texts = |texts: &[&str]| json!({"text": {"text": texts}});
    let mut slack = texts(&["Hi *there*"]);
    slack["platform"] = "SLACK".into();
    assert_eq!(
        ask("Greet").await["fulfillmentMessages"],
        json!([
            texts(&["Hello"]),
            texts(&["And welcome"]),
            slack,
            {"payload": {"text": "Hi"}, "platform": "TELEGRAM"},
        ])
    );
}

#[tokio::test]
async fn cards_images_suggestions_and_the_whole_payload_go_out() {
    let reply = ask("Show").await;
    let picture = "https://example.com/a.png";
    assert_eq!(
        reply["fulfillmentMessages"],
        json!([
            {"card": {
                "title": "Laptop", "subtitle": "12 left", "imageUri": picture,
                "buttons": [{"text": "Buy", "postback": "https://example.com/buy"}],
            }},
            {"image": {"imageUri": picture, "accessibilityText": "Laptop"}},
            {"quickReplies": {"title": "Laptop", "quickReplies": ["Yes", "No"]}},
            {"simpleResponses": {"simpleResponses": [{"textToSpeech": "Twelve are left"}]}, "platform": "ACTIONS_ON_GOOGLE"},
        ])
    );
    assert_eq!(reply["payload"], json!({"slack": {"text": "Laptop"}}));
}

#[tokio::test]
async fn all_that_the_request_says_is_at_hand() {
    let mut turn = es("r", "Told", json!({"city": "Rome"}));
    let query = &mut turn["queryResult"];
    query["queryText"] = "wie heißt die Stadt".into();
    query["languageCode"] = "de".into();
    query["action"] = "tell".into();
    query["fulfillmentText"] = "the agent's own".into();
    query["outputContexts"] = json!([{"name": "projects/p-1/agent/sessions/s-1/contexts/order", "lifespanCount": 4}]);
    turn["originalDetectIntentRequest"] = json!({"source": "slack", "payload": {"user": "U1"}});
    turn["alternativeQueryResults"] = json!([{"queryText": "another"}]);
    let reply = start().await.turn(&turn).await;
    let told: Value = serde_json::from_str(said(&reply)).unwrap();
    assert_eq!(
        told,
        json!({
            "hello": "Guten Tag",
            "query": "wie heißt die Stadt",
            "locale": "de",
            "intent": "Told",
            "action": "tell",
            "session": "projects/p-1/agent/sessions/s-1",
            "source": "slack",
            "original": {"user": "U1"},
            "console": "the agent's own",
            "alternatives": [{"queryText": "another"}],
            "parameters": {"city": "Rome"},
            "contexts": 1,
        })
    );
}

#[tokio::test]
async fn conversation_goes_to_an_event_or_ends() {
    let event = &ask("Pay").await["followupEventInput"];
    assert_eq!(
        (&event["name"], &event["parameters"]),
        (&json!("PAY"), &json!({"amount": 5}))
    );
    let mut bye = es("r", "Bye", json!({}));
    bye["alternativeQueryResults"] = json!([]);
    let reply = start().await.turn(&bye).await;
    assert_eq!((said(&reply), &reply["endInteraction"]), ("Bye", &json!(true)));
}

#[tokio::test]
async fn handler_that_fails_or_takes_too_long_is_answered_for() {
    assert!(said(&ask("Broken").await).starts_with("Sorry"));
    let asked = Instant::now();
    assert_eq!(said(&ask("Report").await), "I am still counting.");
    assert!(asked.elapsed().as_secs() < 20);
}
