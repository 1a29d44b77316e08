//! Whatever a handler replies is something Dialogflow takes, and whatever a caller sends is answered.

use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use rejoinder::reply::message::*;
use rejoinder::reply::{FormReply, FormState, ResponseType, SessionEntity, Target};
use rejoinder::session::ContextId;
use rejoinder::{Answer, FollowUp, Message, Platform, Reply};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::messages::each_kind;
use super::stage::{PAGE, Spoken, Stage};

/// Replies that are tried in each API.
const REPLIES: u32 = 200;

/// Damaged turns that are tried.
const TURNS: u32 = 600;

fn words() -> BoxedStrategy<String> {
    prop_oneof![
        6 => "[a-z]{1,9}( [a-z]{1,9}){0,3}",
        3 => select(vec!["", " ", "\0", "\u{2028}", "\"\\/", "👩‍👩‍👧‍👦", "null", "{}", "<b>&", "\u{feff}x"]).prop_map(String::from),
        1 => any::<String>(),
        1 => (1_usize..40_000).prop_map(|bytes| "ü\u{1}x".chars().cycle().take(bytes).collect()),
    ]
    .boxed()
}

fn free_value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(words(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    });
    let deep = (20_usize..60).prop_map(|levels| (0..levels).fold(json!(1), |inner, _| json!({"a": [inner]})));
    prop_oneof![12 => tree, 1 => deep].boxed()
}

fn free() -> BoxedStrategy<Map<String, Value>> {
    prop::collection::btree_map(words(), free_value(), 0..4)
        .prop_map(|map| map.into_iter().collect())
        .boxed()
}

fn image() -> impl Strategy<Value = Image> {
    (words(), words()).prop_map(|(image_uri, accessibility_text)| Image {
        image_uri,
        accessibility_text,
    })
}

fn link() -> impl Strategy<Value = LinkButton> {
    (words(), words()).prop_map(|(title, uri)| LinkButton {
        title,
        open_uri_action: OpenUri { uri },
    })
}

fn item() -> impl Strategy<Value = SelectItem> {
    (
        words(),
        prop::collection::vec(words(), 0..3),
        words(),
        prop::option::of(image()),
    )
        .prop_map(|(key, synonyms, title, image)| SelectItem {
            info: SelectItemInfo { key, synonyms },
            description: title.clone(),
            title,
            image,
        })
}

fn suggestion() -> impl Strategy<Value = RbmSuggestion> {
    let does = prop_oneof![
        words().prop_map(|phone_number| RbmDoes::Dial(RbmDial { phone_number })),
        words().prop_map(|uri| RbmDoes::OpenUrl(OpenUri { uri })),
        Just(RbmDoes::ShareLocation {}),
    ];
    let action = (words(), prop::option::of(does)).prop_map(|(text, does)| {
        RbmSuggestion::Action(RbmAction {
            postback_data: text.clone(),
            text,
            does,
        })
    });
    let reply =
        (words(), words()).prop_map(|(text, postback_data)| RbmSuggestion::Reply(RbmReply { text, postback_data }));
    prop_oneof![action, reply]
}

fn content() -> impl Strategy<Value = RbmCardContent> {
    let media = (words(), words()).prop_map(|(file_uri, thumbnail_uri)| RbmMedia {
        file_uri,
        thumbnail_uri,
        height: MediaHeight::Short,
    });
    (
        words(),
        prop::option::of(media),
        prop::collection::vec(suggestion(), 0..3),
    )
        .prop_map(|(title, media, suggestions)| RbmCardContent {
            description: title.clone(),
            title,
            media,
            suggestions,
        })
}

fn message() -> BoxedStrategy<Message> {
    let some = || prop::collection::vec(words(), 0..3);
    prop_oneof![
        4 => some().prop_map(Message::Text),
        2 => select(each_kind()),
        1 => free().prop_map(Message::Payload),
        1 => image().prop_map(Message::Image),
        1 => (words(), some()).prop_map(|(title, quick_replies)| Message::QuickReplies(QuickReplies { title, quick_replies })),
        1 => (words(), words(), some()).prop_map(|(title, image_uri, texts)| Message::Card(Card {
            subtitle: title.clone(), title, image_uri,
            buttons: texts.into_iter().map(|text| CardButton { postback: text.clone(), text }).collect(),
        })),
        1 => (words(), words(), words()).prop_map(|(text_to_speech, ssml, display_text)| {
            Message::SimpleResponses(vec![SimpleResponse { text_to_speech, ssml, display_text }])
        }),
        // Without a text it must have a picture; that case has a test of its own.
        1 => (words(), words(), prop::collection::vec(link(), 0..2)).prop_map(|(title, formatted_text, buttons)| {
            Message::BasicCard(BasicCard { title, subtitle: String::new(), formatted_text, image: None, buttons })
        }),
        1 => some().prop_map(Message::Suggestions),
        1 => (words(), words()).prop_map(|(destination_name, uri)| {
            Message::LinkOutSuggestion(LinkOutSuggestion { destination_name, uri })
        }),
        1 => (words(), prop::collection::vec(item(), 0..3)).prop_map(|(title, items)| {
            Message::ListSelect(ListSelect { subtitle: title.clone(), title, items })
        }),
        1 => prop::collection::vec(item(), 0..3).prop_map(|items| Message::CarouselSelect(CarouselSelect { items })),
        1 => (words(), words(), prop::option::of(image())).prop_map(|(title, url, image)| {
            let open_uri_action = OpenUrl { url, url_type_hint: None };
            let item = BrowseItem { open_uri_action, footer: title.clone(), title, image, ..BrowseItem::default() };
            Message::BrowseCarouselCard(BrowseCarouselCard { items: vec![item], image_display_options: None })
        }),
        1 => (words(), words(), some()).prop_map(|(title, header, texts)| Message::TableCard(TableCard {
            title,
            column_properties: vec![ColumnProperties { header, horizontal_alignment: None }],
            rows: vec![TableCardRow { cells: texts.into_iter().map(|text| TableCardCell { text }).collect(), divider_after: false }],
            ..TableCard::default()
        })),
        1 => (words(), words(), image()).prop_map(|(name, content_url, icon)| Message::MediaContent(MediaContent {
            media_type: None,
            media_objects: vec![MediaObject { name, content_url, image: Some(MediaImage::Icon(icon)), ..MediaObject::default() }],
        })),
        1 => words().prop_map(Message::PlayAudio),
        1 => words().prop_map(Message::TransferCall),
        1 => (words(), words()).prop_map(|(text, ssml)| Message::Speech(Speech { text, ssml })),
        1 => (words(), prop::collection::vec(suggestion(), 0..3)).prop_map(|(text, rbm_suggestion)| {
            Message::RbmText(RbmText { text, rbm_suggestion })
        }),
        1 => content().prop_map(|card_content| {
            Message::RbmCard(RbmStandaloneCard { card_content, ..RbmStandaloneCard::default() })
        }),
        1 => prop::collection::vec(content(), 0..3).prop_map(|card_contents| {
            Message::RbmCarousel(RbmCarouselCard { card_width: CardWidth::Medium, card_contents })
        }),
        1 => free().prop_map(Message::ConversationSuccess),
        1 => (words(), words(), free()).prop_map(|(tool, action, input_parameters)| {
            Message::ToolCall(ToolCall { tool, action, input_parameters })
        }),
    ]
    .boxed()
}

fn platform() -> impl Strategy<Value = Platform> {
    select(vec![
        Platform::Any,
        Platform::Any,
        Platform::Slack,
        Platform::Telephony,
        Platform::GoogleHangouts,
    ])
}

/// Something more that a reply does.
#[derive(Clone)]
struct Change(Arc<dyn Fn(Reply) -> Reply>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", (self.0)(Reply::text("")))
    }
}

fn by(change: impl Fn(Reply) -> Reply + 'static) -> Change {
    Change(Arc::new(change))
}

fn change() -> BoxedStrategy<Change> {
    prop_oneof![
        (platform(), message()).prop_map(|(platform, message)| by(move |reply| reply.on(platform, message.clone()))),
        ("[a-zA-Z0-9_%-]{1,250}", any::<u32>(), free()).prop_filter_map(
            "a context's id",
            |(id, lifespan, parameters)| {
                let id = ContextId::parse(&id).ok()?;
                Some(by(move |reply| reply.context(id.clone(), lifespan, parameters.clone())))
            }
        ),
        words().prop_map(|source| by(move |reply| reply.source(source.as_str()))),
        free().prop_map(|payload| by(move |reply| reply.payload(payload.clone()))),
        (
            words(),
            any::<bool>(),
            prop::collection::vec((words(), prop::collection::vec(words(), 0..3)), 0..3)
        )
            .prop_map(|(name, replaces, entries)| by(move |reply| {
                let (name, entries) = (name.clone(), entries.clone());
                reply.session_entity(SessionEntity {
                    name,
                    replaces,
                    entries,
                })
            })),
        Just(()).prop_map(|()| by(Reply::end)),
        free().prop_map(|metadata| by(move |reply| reply.hand_off(metadata.clone()))),
        (words(), free_value()).prop_map(|(name, value)| by(move |reply| reply.set(name.as_str(), value.clone()))),
        (words(), prop::option::of(free_value())).prop_map(|(name, value)| by(move |reply| {
            let (name, value) = (name.clone(), value.clone());
            reply.form(FormReply {
                name,
                state: FormState::Invalid,
                required: None,
                value,
            })
        })),
        prop_oneof![words(), Just(PAGE.to_owned())]
            .prop_map(|name| by(move |reply| reply.go_to(Target::Page(name.clone())))),
        words().prop_map(|name| by(move |reply| reply.go_to(Target::Flow(name.clone())))),
        Just(()).prop_map(|()| by(Reply::replace_queued)),
        Just(()).prop_map(|()| by(|reply| reply.response_type(ResponseType::EntryPrompt))),
    ]
    .boxed()
}

/// Anything a handler can answer.
fn answer() -> impl Strategy<Value = Answer> {
    let reply = (message(), prop::collection::vec(change(), 0..6)).prop_map(|(first, changes)| {
        let whole = changes
            .iter()
            .fold(Reply::message(first), |reply, change| (change.0)(reply));
        Answer::from(whole)
    });
    let page = prop_oneof![words(), Just(PAGE.to_owned())].prop_map(Target::Page);
    let follow_up = (words(), words(), free_value(), prop::option::of(page)).prop_map(|(event, name, value, page)| {
        let follow_up = FollowUp::event(event).parameter(name, value);
        Answer::from(match page {
            Some(page) => follow_up.or_go_to(page),
            None => follow_up,
        })
    });
    prop_oneof![9 => reply, 1 => follow_up]
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    })
}

#[test]
fn any_reply_is_one_that_dialogflow_takes() {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::start());
    for api in Spoken::ALL {
        let tried = runner(REPLIES).run(&answer(), |answer| {
            // The stage checks it.
            runtime.block_on(stage.says(api, answer));
            Ok(())
        });
        tried.unwrap_or_else(|failed| panic!("{api:?}: {failed}"));
    }
}

/// One thing done to a turn: at which of its places, and what.
#[derive(Clone, Debug)]
enum Damage {
    Put(usize, Value),
    Remove(usize),
    Wrap(usize),
    Rename(usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let odd = select(vec![
        json!([]),
        json!({}),
        json!(""),
        json!(null),
        json!(0),
        json!(-1),
        json!(1e308),
        json!("7"),
        json!(true),
        json!([null]),
        json!("NaN"),
        json!(["x"]),
        json!({"": {}}),
        json!("a/contexts/b"),
    ]);
    prop_oneof![
        3 => (any::<usize>(), prop_oneof![odd, free_value()]).prop_map(|(at, value)| Damage::Put(at, value)),
        1 => any::<usize>().prop_map(Damage::Remove),
        1 => any::<usize>().prop_map(Damage::Wrap),
        1 => (any::<usize>(), words()).prop_map(|(at, name)| Damage::Rename(at, name)),
    ]
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let step = name.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{step}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn damaged(mut turn: Value, damages: &[Damage]) -> Value {
    for damage in damages {
        let mut places = Vec::new();
        pointers(&turn, "", &mut places);
        let (Damage::Put(at, _) | Damage::Remove(at) | Damage::Wrap(at) | Damage::Rename(at, _)) = damage;
        let place = &places[at % places.len()];
        match damage {
            Damage::Put(_, value) => *turn.pointer_mut(place).unwrap() = value.clone(),
            Damage::Wrap(_) => {
                let inner = turn.pointer_mut(place).unwrap();
                *inner = json!([inner.take()]);
            }
            Damage::Remove(_) | Damage::Rename(..) => {
                let (parent, name) = place.rsplit_once('/').unwrap_or_default();
                let Some(fields) = turn.pointer_mut(parent).and_then(Value::as_object_mut) else {
                    continue;
                };
                let value = fields.remove(name);
                if let (Damage::Rename(_, name), Some(value)) = (damage, value) {
                    fields.insert(name.clone(), value);
                }
            }
        }
    }
    turn
}

#[test]
fn any_damaged_turn_is_answered_or_refused_with_a_reason() {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::start());
    let whole = [
        include_str!("../../fixtures/wire/es_every_field.json"),
        include_str!("../../fixtures/wire/cx_every_field.json"),
    ];
    let turns = select(whole.map(|turn| serde_json::from_str::<Value>(turn).unwrap()).to_vec());
    let damages = prop::collection::vec(damage(), 1..6);
    let tried = runner(TURNS).run(&(turns, damages), |(turn, damages)| {
        let body = damaged(turn, &damages).to_string();
        let (status, reply) = runtime.block_on(stage.bot.post(body));
        match status {
            200 => prop_assert!(reply.is_object()),
            400 => {
                let error = &reply["error"];
                prop_assert!(error["field"].is_string() || error["line"].is_u64(), "{}", reply);
                prop_assert!(
                    error["message"].as_str().is_some_and(|reason| reason.len() > 10),
                    "{}",
                    reply
                );
            }
            413 => {}
            other => prop_assert!(false, "status {}: {}", other, reply),
        }
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn any_damaged_bytes_are_answered_or_refused_with_a_reason() {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::start());
    let whole = include_bytes!("../../fixtures/wire/es_every_field.json");
    let damage = prop::collection::vec((0..whole.len(), any::<u8>()), 1..4);
    let tried = runner(TURNS).run(&(damage, 0..whole.len()), |(damage, end)| {
        let mut body = whole.to_vec();
        for (at, byte) in damage {
            body[at] = byte;
        }
        if end % 4 == 0 {
            body.truncate(end);
        }
        let (status, reply) = runtime.block_on(stage.bot.post(body));
        prop_assert!(
            status == 200 || (status == 400 && reply["error"]["message"].is_string()),
            "{}",
            reply
        );
        Ok(())
    });
    tried.unwrap();
}
