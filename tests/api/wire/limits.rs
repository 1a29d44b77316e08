//! A reply that is too large or too deep is cut, the text last.

use rejoinder::reply::{SessionEntity, Target};
use rejoinder::session::ContextId;
use rejoinder::{FollowUp, Message, Reply};
use serde_json::{Map, Value, json};

use super::stage::{PAGE, Spoken, Stage};

fn large(name: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::from("x".repeat(70_000)))])
}

fn deep(levels: usize) -> Map<String, Value> {
    let value = (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    Map::from_iter([("deep".to_owned(), value)])
}

fn context(id: &str) -> ContextId {
    ContextId::parse(id).unwrap()
}

fn said(api: Spoken, reply: &Value) -> String {
    let text = match api {
        Spoken::V2 | Spoken::V2beta1 => &reply["fulfillmentText"],
        Spoken::V3 => &reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0],
    };
    text.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn payload_goes_first_and_the_rest_stays() {
    let stage = Stage::start().await;
    let reply = Reply::text("hello")
        .payload(large("p"))
        .context(context("c"), 5, Map::new())
        .set("s", 1);
    for api in Spoken::ALL {
        let sent = stage.says(api, reply.clone()).await;
        assert_eq!((said(api, &sent).as_str(), sent.get("payload")), ("hello", None));
        assert!(sent.get("outputContexts").or(sent.get("sessionInfo")).is_some());
    }
}

#[tokio::test]
async fn rich_messages_go_before_entities_and_those_before_contexts() {
    let stage = Stage::start().await;
    let rich = Reply::text("hello")
        .and(Message::Payload(large("m")))
        .context(context("c"), 5, Map::new());
    for api in Spoken::ALL {
        let sent = stage.says(api, rich.clone()).await;
        assert_eq!(said(api, &sent), "hello");
        assert!(sent.get("outputContexts").or(sent.get("sessionInfo")).is_some());
    }
    let entity = SessionEntity {
        name: "e".into(),
        replaces: false,
        entries: vec![("x".repeat(70_000), vec![])],
    };
    let sent = stage.says(Spoken::V2, rich.session_entity(entity)).await;
    assert!(sent.get("sessionEntityTypes").is_none() && sent.get("outputContexts").is_some());
}

#[tokio::test]
async fn text_goes_last_and_is_shortened_at_a_character() {
    let stage = Stage::start().await;
    for word in ["x", "ü", "👩‍👩‍👧‍👦", "\u{1}", "\\\""] {
        let text = word.repeat(80_000 / word.len());
        for api in Spoken::ALL {
            let sent = stage
                .says(api, Reply::text(text.as_str()).context(context("c"), 5, large("c")))
                .await;
            let said = said(api, &sent);
            assert!(
                said.len() > 8_000 && text.starts_with(said.trim_end_matches('…')),
                "{api:?} {word:?}"
            );
        }
    }
}

#[tokio::test]
async fn many_texts_become_one() {
    let stage = Stage::start().await;
    let mut reply = Reply::text("first");
    for _ in 0..100 {
        reply = reply.and(Message::Text(vec!["x".repeat(1000)]));
    }
    for api in Spoken::ALL {
        assert!(said(api, &stage.says(api, reply.clone()).await).starts_with("first\nxxx"));
    }
}

#[tokio::test]
async fn reply_of_which_nothing_is_left_is_not_silent() {
    let stage = Stage::start().await;
    for api in Spoken::ALL {
        let sent = stage.says(api, Reply::message(Message::Payload(large("only")))).await;
        assert!(said(api, &sent).starts_with("Sorry"), "{sent}");
    }
}

#[tokio::test]
async fn hand_off_and_target_outlive_the_cuts() {
    let stage = Stage::start().await;
    let reply = Reply::text("x".repeat(70_000))
        .hand_off(large("why"))
        .go_to(Target::Page(PAGE.into()));
    let sent = stage.says(Spoken::V3, reply.clone()).await;
    assert_eq!(sent["targetPage"], PAGE);
    assert_eq!(
        sent["fulfillmentResponse"]["messages"][1],
        json!({"liveAgentHandoff": {}})
    );
    assert_eq!(stage.says(Spoken::V2beta1, reply).await["liveAgentHandoff"], true);
}

#[tokio::test]
async fn follow_up_event_is_cut_to_its_name() {
    let stage = Stage::start().await;
    let sent = stage
        .says(Spoken::V2, FollowUp::event("GO").parameter("p", "x".repeat(70_000)))
        .await;
    assert_eq!(
        sent,
        json!({"followupEventInput": {"name": "GO", "languageCode": "en"}})
    );
}

#[tokio::test]
async fn nesting_that_protobuf_refuses_is_cut() {
    let stage = Stage::start().await;
    for api in Spoken::ALL {
        let sent = stage.says(api, Reply::text("hello").payload(deep(29))).await;
        assert!(sent.get("payload").is_some());
        let sent = stage.says(api, Reply::text("hello").payload(deep(31))).await;
        assert_eq!((said(api, &sent).as_str(), sent.get("payload")), ("hello", None));
        let sent = stage
            .says(
                api,
                Reply::text("hello")
                    .context(context("c"), 5, deep(120))
                    .set("s", json!(deep(99))),
            )
            .await;
        assert_eq!(said(api, &sent), "hello");
    }
}
