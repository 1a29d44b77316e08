//! Every part of a reply is written where its API takes it, and nowhere else.

use std::sync::Arc;

use rejoinder::reply::message::{Card, Image, SimpleResponse, Speech};
use rejoinder::reply::{FormReply, FormState, ResponseType, SessionEntity, Target};
use rejoinder::session::ContextId;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Context, Fail, FollowUp, Kept, Message, Platform, Reply, Turn};
use rstest::rstest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::stage::{CX_SESSIONS, ES_SESSIONS, PAGE, Spoken, Stage, cx_turn, es_turn};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A reply that uses all there is.
fn whole() -> Reply {
    Reply::text("hello")
        .and(Message::Payload(object(json!({"a": 1}))))
        .on(Platform::Telephony, Message::TransferCall("+15550100".into()))
        .source("shop")
        .payload(object(json!({"slack": {"text": "hello"}})))
        .context(ContextId::parse("Order%2-x").unwrap(), 7, object(json!({"id": 7})))
        .context(ContextId::parse("old").unwrap(), 0, Map::new())
        .session_entity(SessionEntity {
            name: "store".into(),
            replaces: true,
            entries: vec![
                ("Graz".into(), vec![]),
                ("Wien".into(), vec!["Vienna".into(), " ".into()]),
            ],
        })
        .end()
        .hand_off(object(json!({"queue": "gold"})))
        .set("size", "L")
        .set("gone", Value::Null)
        .form(FormReply {
            name: "order".into(),
            state: FormState::Invalid,
            required: Some(true),
            value: Some(Value::Null),
        })
        .replace_queued()
        .response_type(ResponseType::HandlerPrompt)
}

#[tokio::test]
async fn each_api_gets_the_parts_it_takes() {
    let stage = Stage::start().await;
    for api in Spoken::ALL {
        let reply = stage.says(api, whole()).await;
        insta::assert_json_snapshot!(format!("whole_{}", api.name()), reply);
    }
}

#[tokio::test]
async fn contexts_get_the_full_name_of_the_session_and_a_lifespan() {
    let stage = Stage::start().await;
    for session in ES_SESSIONS {
        let reply = stage.answers(Spoken::V2, &es_turn(session), whole()).await;
        let expected = json!([
            {"name": format!("{session}/contexts/order%2-x"), "lifespanCount": 7, "parameters": {"id": 7, "rejoinder": {"id": 7}}},
            {"name": format!("{session}/contexts/old"), "lifespanCount": 0},
        ]);
        assert_eq!(reply["outputContexts"], expected);
        assert_eq!(
            reply["sessionEntityTypes"][0]["name"],
            format!("{session}/entityTypes/store")
        );
    }
    for session in CX_SESSIONS {
        let reply = stage.answers(Spoken::V3, &cx_turn(session), whole()).await;
        let kept = json!({"id": 7, "rejoinder": {"lifespan": 7}});
        let expected = json!({"order_2-x": kept, "old": null, "size": "L", "gone": null});
        assert_eq!(reply["sessionInfo"]["parameters"], expected);
    }
}

#[tokio::test]
async fn cx_context_is_read_by_the_name_it_was_written_under() {
    let stage = Stage::start().await;
    let mut turn = cx_turn(CX_SESSIONS[0]);
    turn["sessionInfo"]["parameters"] = json!({"order_2-x": {"id": 7}});
    let (seen, _) = stage.sees(turn).await;
    assert_eq!(seen.kept("Order%2-x").unwrap()["id"], 7);
}

#[tokio::test]
async fn lifespan_fits_the_field() {
    let stage = Stage::start().await;
    let long = Reply::text("x").context(ContextId::parse("a").unwrap(), u32::MAX, Map::new());
    let reply = stage.says(Spoken::V2, long).await;
    assert_eq!(reply["outputContexts"][0]["lifespanCount"], i32::MAX);
}

#[tokio::test]
async fn follow_up_event_stands_alone() {
    let stage = Stage::start().await;
    for api in [Spoken::V2, Spoken::V2beta1] {
        let reply = stage.says(api, FollowUp::event("BOOK").parameter("day", 3)).await;
        let event = json!({"name": "BOOK", "parameters": {"day": 3}, "languageCode": "en"});
        assert_eq!(reply, json!({"followupEventInput": event}));
    }
}

#[tokio::test]
async fn follow_up_goes_to_its_page_in_cx() {
    let stage = Stage::start().await;
    let follow_up = || FollowUp::event("BOOK").parameter("day", 3).keep(Seat { row: 7 });
    let there = follow_up().or_go_to(Target::Page(PAGE.into()));
    let reply = stage.says(Spoken::V3, there.clone()).await;
    assert_eq!(reply["targetPage"], PAGE);
    assert_eq!(reply["sessionInfo"]["parameters"]["day"], 3);
    assert!(reply["sessionInfo"]["parameters"]["seat"].is_object(), "{reply}");
    assert_eq!(reply.get("fulfillmentResponse"), None);
    let flow = PAGE.rsplit_once("/pages/").unwrap().0;
    let reply = stage
        .says(Spoken::V3, follow_up().or_go_to(Target::Flow(flow.into())))
        .await;
    assert_eq!(reply["targetFlow"], flow);
    for lost in [follow_up(), follow_up().or_go_to(Target::Page("BOOK".into()))] {
        let reply = stage.says(Spoken::V3, lost).await;
        let said = &reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0];
        assert_eq!(said, "Sorry, I cannot do that here.");
    }
    let reply = stage.says(Spoken::V2, there).await;
    assert_eq!(reply["followupEventInput"]["name"], "BOOK");
}

/// Takes a seat for two turns when asked to, and tells which it has.
async fn takes_a_seat(turn: Arc<Turn>, seat: Option<Context<Seat>>) -> Result<Reply, Fail> {
    let told = seat.map_or("no seat".to_owned(), |Context(seat)| format!("row {}", seat.row));
    Ok(match turn.tag.as_str() {
        "take" => Reply::text(told).keep_for(2, Seat { row: 7 }),
        _ => Reply::text(told),
    })
}

#[tokio::test]
async fn what_is_kept_ends_after_its_turns_in_cx_too() {
    let bot = TestBot::start(Bot::new().fallback(takes_a_seat)).await;
    let mut session = json!({"other": 1});
    let mut ask = async |response_id: &str, tag: &str| {
        let mut turn = cx_turn(CX_SESSIONS[0]);
        turn["detectIntentResponseId"] = json!(response_id);
        turn["fulfillmentInfo"]["tag"] = json!(tag);
        turn["sessionInfo"]["parameters"] = session.clone();
        let reply = bot.turn(&turn).await;
        // As CX does with what a webhook sets and deletes.
        for (name, value) in reply["sessionInfo"]["parameters"].as_object().into_iter().flatten() {
            session[name] = value.clone();
            if value.is_null() {
                session.as_object_mut().unwrap().remove(name);
            }
        }
        let said = reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0].clone();
        (said, session.get("seat").is_some())
    };
    assert_eq!(ask("r1", "take").await, (json!("no seat"), true));
    assert_eq!(ask("r1", "tell").await, (json!("row 7"), true), "the same turn");
    assert_eq!(ask("r2", "tell").await, (json!("row 7"), true));
    assert_eq!(ask("r3", "tell").await, (json!("row 7"), true));
    assert_eq!(ask("r3", "tell again").await, (json!("row 7"), true), "the same turn");
    assert_eq!(ask("r4", "tell").await, (json!("no seat"), false));
    assert_eq!(ask("r5", "take").await, (json!("no seat"), true));
    assert_eq!(ask("r6", "take").await, (json!("row 7"), true));
    assert_eq!(ask("r7", "tell").await, (json!("row 7"), true));
    assert_eq!(ask("r8", "tell").await, (json!("row 7"), true), "kept anew");
    assert_eq!(ask("r9", "tell").await, (json!("no seat"), false));
    assert_eq!(session, json!({"other": 1}));
}

#[derive(Deserialize, Serialize)]
struct Seat {
    row: u8,
}

impl Kept for Seat {
    const CONTEXT: &'static str = "seat";
}

#[tokio::test]
async fn response_type_is_sent_where_the_request_has_one() {
    let stage = Stage::start().await;
    let reply = || Reply::text("hello").response_type(ResponseType::EntryPrompt);
    let sent = stage.says(Spoken::V3, reply()).await;
    assert_eq!(
        sent["fulfillmentResponse"]["messages"][0]["responseType"],
        "ENTRY_PROMPT"
    );
    let mut turn = cx_turn(CX_SESSIONS[0]);
    for messages in [None, Some(json!([])), Some(json!([{"text": {"text": ["hi"]}}]))] {
        if let Some(messages) = messages {
            turn["messages"] = messages;
        }
        let sent = stage.answers(Spoken::V3, &turn, reply()).await;
        assert_eq!(
            sent["fulfillmentResponse"]["messages"],
            json!([{"text": {"text": ["hello"]}}])
        );
    }
}

#[rstest]
#[case(Spoken::V2, Message::TransferCall("+15550100".into()), "Please call +15550100.")]
#[case(Spoken::V2, Message::PlayAudio("https://a.example/b.mp3".into()), "You can listen to it here: https://a.example/b.mp3")]
#[case(Spoken::V2, speech("<speak>Hello<break/>you</speak>"), "Hello you")]
#[case(Spoken::V2, Message::KnowledgeInfoCard, "Sorry, I cannot do that here.")]
#[case(
    Spoken::V2beta1,
    Message::ConversationSuccess(Map::new()),
    "Sorry, I cannot do that here."
)]
#[case(Spoken::V3, image("a cat"), "a cat")]
#[case(Spoken::V3, image(""), "https://a.example/cat.png")]
#[case(Spoken::V3, Message::SimpleResponses(vec![SimpleResponse { ssml: "<speak>Hi</speak>".into(), ..SimpleResponse::default() }]), "Hi")]
#[case(Spoken::V3, Message::Text(vec![" ".into()]), "Sorry, I cannot do that here.")]
#[tokio::test]
async fn reply_that_an_api_has_no_word_for_says_something_of_use(
    #[case] api: Spoken,
    #[case] message: Message,
    #[case] words: &str,
) {
    let stage = Stage::start().await;
    let sent = stage.says(api, Reply::message(message.clone())).await;
    let (text, messages) = match api {
        Spoken::V2 | Spoken::V2beta1 => (&sent["fulfillmentText"], &sent["fulfillmentMessages"]),
        Spoken::V3 => (&Value::Null, &sent["fulfillmentResponse"]["messages"]),
    };
    assert_eq!(*messages, json!([{"text": {"text": [words]}}]));
    assert!(text.is_null() || text == words, "{sent}");
    if api == Spoken::V2 {
        let sent = stage.says(api, Reply::text("One moment.").and(message)).await;
        assert_eq!(sent["fulfillmentText"], "One moment.");
    }
}

#[tokio::test]
async fn user_hears_it_in_their_language() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["languageCode"] = json!("de");
    let call = Reply::message(Message::TransferCall("+15550100".into()));
    let sent = stage.answers(Spoken::V2, &turn, call).await;
    assert_eq!(sent["fulfillmentText"], "Bitte rufen Sie +15550100 an.");
    let sent = stage.answers(Spoken::V2, &turn, Reply::text("")).await;
    assert_eq!(sent["fulfillmentText"], "Das geht hier leider nicht.");
}

#[tokio::test]
async fn cx_says_once_what_is_said_to_all() {
    let stage = Stage::start().await;
    let card = || {
        Message::Card(Card {
            title: "Milk, bread".into(),
            ..Card::default()
        })
    };
    let text = |words: &str| Message::Text(vec![words.into()]);
    let both = Reply::text("Milk, bread").on(Platform::ActionsOnGoogle, card());
    let sent = stage
        .says(Spoken::V3, both.clone().on(Platform::Slack, text("to Slack")))
        .await;
    let messages = json!([
        {"text": {"text": ["Milk, bread"]}}, {"text": {"text": ["to Slack"]}, "channel": "SLACK"},
    ]);
    assert_eq!(sent["fulfillmentResponse"]["messages"], messages);
    let sent = stage
        .says(
            Spoken::V3,
            Reply::message(Message::Payload(Map::new())).on(Platform::Slack, card()),
        )
        .await;
    let words = json!({"text": {"text": ["Milk, bread"]}, "channel": "SLACK"});
    assert_eq!(sent["fulfillmentResponse"]["messages"][1], words);
    let sent = stage.says(Spoken::V2, both).await;
    assert_eq!(sent["fulfillmentMessages"][1]["platform"], "ACTIONS_ON_GOOGLE");
}

fn speech(ssml: &str) -> Message {
    Message::Speech(Speech {
        ssml: ssml.into(),
        ..Speech::default()
    })
}

fn image(accessibility_text: &str) -> Message {
    Message::Image(Image {
        image_uri: "https://a.example/cat.png".into(),
        accessibility_text: accessibility_text.into(),
    })
}

#[tokio::test]
async fn follow_up_event_that_no_intent_can_have_is_a_bug() {
    let stage = Stage::start().await;
    for name in [String::new(), " ".to_owned(), "e".repeat(151)] {
        let reply = stage.says(Spoken::V2, FollowUp::event(name)).await;
        assert!(reply["fulfillmentText"].as_str().unwrap().starts_with("Sorry"));
    }
}

#[tokio::test]
async fn follow_up_echoes_no_endless_language() {
    let stage = Stage::start().await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["languageCode"] = json!("x".repeat(100_000));
    let reply = stage.answers(Spoken::V2, &turn, FollowUp::event("BOOK")).await;
    assert_eq!(reply["followupEventInput"]["languageCode"], "en");
}

#[tokio::test]
async fn end_of_a_cx_conversation_is_the_page_that_ends_the_session() {
    let stage = Stage::start().await;
    let flow = PAGE.rsplit_once("/pages/").unwrap().0;
    let reply = stage.says(Spoken::V3, Reply::text("bye").end()).await;
    assert_eq!(reply["targetPage"], format!("{flow}/pages/END_SESSION"));
    let reply = stage
        .says(Spoken::V3, Reply::text("bye").end().go_to(Target::Flow(flow.into())))
        .await;
    assert_eq!((&reply["targetFlow"], reply.get("targetPage")), (&json!(flow), None));
    let mut turn = cx_turn(CX_SESSIONS[0]);
    for page in ["", "p-1", &PAGE.replace("f-1", &"f".repeat(2000))] {
        turn["pageInfo"]["currentPage"] = json!(page);
        let reply = stage.answers(Spoken::V3, &turn, Reply::text("bye").end()).await;
        assert_eq!(reply.get("targetPage"), None, "{page}");
    }
}

#[tokio::test]
async fn target_of_the_wrong_form_is_left_out() {
    let stage = Stage::start().await;
    for target in [
        "p-1",
        "",
        "projects/p/locations/l/agents/a/flows/f",
        &format!("{PAGE}/"),
    ] {
        let reply = stage
            .says(Spoken::V3, Reply::text("x").go_to(Target::Page(target.into())))
            .await;
        assert_eq!(reply.get("targetPage"), None, "{target}");
    }
    let reply = stage
        .says(Spoken::V3, Reply::text("x").go_to(Target::Page(PAGE.into())))
        .await;
    assert_eq!(reply["targetPage"], PAGE);
}

#[tokio::test]
async fn words_for_one_platform_are_the_text_where_there_are_no_others() {
    let stage = Stage::start().await;
    let text = |words: &str| Message::Text(vec![words.into()]);
    let mut reply = Reply::message(Message::Payload(Map::new()))
        .on(Platform::Slack, text("to Slack"))
        .on(Platform::Line, text("to Line"));
    let sent = stage.says(Spoken::V2, reply.clone()).await;
    assert_eq!(sent["fulfillmentText"], "to Slack");
    reply = reply.and(Message::QuickReplies(rejoinder::reply::message::QuickReplies {
        title: "Which?".into(),
        quick_replies: vec!["one".into(), "two".into()],
    }));
    assert_eq!(
        stage.says(Spoken::V2, reply.clone()).await["fulfillmentText"],
        "Which?\none / two"
    );
    let sent = stage.says(Spoken::V2, reply.and(text("to all"))).await;
    assert_eq!(sent["fulfillmentText"], "to all");
}

#[tokio::test]
async fn telephony_platform_is_of_v2beta1_and_cx() {
    let stage = Stage::start().await;
    let call = Reply::text("hello").on(Platform::Telephony, Message::Text(vec!["hello, caller".into()]));
    let sent = stage.says(Spoken::V2, call.clone()).await;
    assert_eq!(sent["fulfillmentMessages"], json!([{"text": {"text": ["hello"]}}]));
    let sent = stage.says(Spoken::V2beta1, call.clone()).await;
    assert_eq!(sent["fulfillmentMessages"][1]["platform"], "TELEPHONY");
    let sent = stage.says(Spoken::V3, call).await;
    assert_eq!(sent["fulfillmentResponse"]["messages"][1]["channel"], "TELEPHONY");
}

#[tokio::test]
async fn blank_variant_of_a_text_is_not_sent() {
    let stage = Stage::start().await;
    let variants = Message::Text(vec![String::new(), "hello".into(), " ".into(), "hi".into()]);
    let sent = stage.says(Spoken::V2, Reply::message(variants)).await;
    let expected = json!({
        "fulfillmentText": "hello", "fulfillmentMessages": [{"text": {"text": ["hello", "hi"]}}],
    });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn number_that_is_none_is_null() {
    let stage = Stage::start().await;
    let sent = stage
        .says(Spoken::V3, Reply::text("x").set("rate", f64::NAN).set(" ", 1))
        .await;
    assert_eq!(sent["sessionInfo"]["parameters"], json!({"rate": null}));
}
