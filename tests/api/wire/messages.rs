//! Each kind of message, as each API writes it.

use rejoinder::reply::message::*;
use rejoinder::{Message, Platform, Reply};
use serde_json::{Map, Value, json};

use super::stage::{Spoken, Stage};

/// One of each kind, with every field set.
pub(crate) fn each_kind() -> Vec<Message> {
    let image = || Image {
        image_uri: "https://example.com/a.png".into(),
        accessibility_text: "a picture".into(),
    };
    let link = || LinkButton {
        title: "Open".into(),
        open_uri_action: OpenUri {
            uri: "https://example.com".into(),
        },
    };
    let item = |key: &str| SelectItem {
        info: SelectItemInfo {
            key: key.into(),
            synonyms: vec![format!("the {key}")],
        },
        title: key.to_uppercase(),
        description: "an item".into(),
        image: Some(image()),
    };
    let suggestions = || {
        let action = |does| {
            RbmSuggestion::Action(RbmAction {
                text: "do".into(),
                postback_data: "did".into(),
                does: Some(does),
            })
        };
        vec![
            RbmSuggestion::Reply(RbmReply {
                text: "yes".into(),
                postback_data: "y".into(),
            }),
            action(RbmDoes::Dial(RbmDial {
                phone_number: "+15550100".into(),
            })),
            action(RbmDoes::OpenUrl(OpenUri {
                uri: "https://example.com".into(),
            })),
            action(RbmDoes::ShareLocation {}),
        ]
    };
    let content = || RbmCardContent {
        title: "Card".into(),
        description: "of RBM".into(),
        media: Some(RbmMedia {
            file_uri: "https://example.com/a.mp4".into(),
            thumbnail_uri: "https://example.com/t.png".into(),
            height: MediaHeight::Tall,
        }),
        suggestions: suggestions(),
    };
    let free = |value: Value| value.as_object().cloned().unwrap_or_default();
    vec![
        Message::Text(vec!["hello".into(), "hi".into()]),
        Message::Payload(free(json!({"telegram": {"text": "hello"}}))),
        Message::Image(image()),
        Message::QuickReplies(QuickReplies {
            title: "Which?".into(),
            quick_replies: vec!["one".into(), "two".into()],
        }),
        Message::Card(Card {
            title: "Card".into(),
            subtitle: "small".into(),
            image_uri: "https://example.com/a.png".into(),
            buttons: vec![CardButton {
                text: "Open".into(),
                postback: "https://example.com".into(),
            }],
        }),
        Message::SimpleResponses(vec![SimpleResponse {
            text_to_speech: "hello".into(),
            ssml: String::new(),
            display_text: "Hello!".into(),
        }]),
        Message::BasicCard(BasicCard {
            title: "Basic".into(),
            subtitle: "card".into(),
            formatted_text: "*text*".into(),
            image: Some(image()),
            buttons: vec![link()],
        }),
        Message::Suggestions(vec!["yes".into(), "no".into()]),
        Message::LinkOutSuggestion(LinkOutSuggestion {
            destination_name: "Shop".into(),
            uri: "https://example.com".into(),
        }),
        Message::ListSelect(ListSelect {
            title: "List".into(),
            subtitle: "to choose from".into(),
            items: vec![item("a"), item("b")],
        }),
        Message::CarouselSelect(CarouselSelect {
            items: vec![item("a"), item("b")],
        }),
        Message::BrowseCarouselCard(BrowseCarouselCard {
            items: vec![BrowseItem {
                open_uri_action: OpenUrl {
                    url: "https://example.com".into(),
                    url_type_hint: Some(UrlType::AmpContent),
                },
                title: "Page".into(),
                description: "to read".into(),
                image: Some(image()),
                footer: "foot".into(),
            }],
            image_display_options: Some(ImageDisplay::BlurredBackground),
        }),
        Message::TableCard(TableCard {
            title: "Table".into(),
            subtitle: "of two".into(),
            image: Some(image()),
            column_properties: vec![ColumnProperties {
                header: "Item".into(),
                horizontal_alignment: Some(Alignment::Trailing),
            }],
            rows: vec![TableCardRow {
                cells: vec![TableCardCell { text: "milk".into() }],
                divider_after: true,
            }],
            buttons: vec![link()],
        }),
        Message::MediaContent(MediaContent {
            media_type: Some(MediaType::Audio),
            media_objects: vec![MediaObject {
                name: "Song".into(),
                description: "to hear".into(),
                image: Some(MediaImage::LargeImage(image())),
                content_url: "https://example.com/a.mp3".into(),
            }],
        }),
        Message::PlayAudio("https://example.com/a.mp3".into()),
        Message::Speech(Speech {
            text: "hello".into(),
            ssml: String::new(),
        }),
        Message::Speech(Speech {
            text: "hello".into(),
            ssml: "<speak>hello</speak>".into(),
        }),
        Message::TransferCall("+15550100".into()),
        Message::RbmText(RbmText {
            text: "hello".into(),
            rbm_suggestion: suggestions(),
        }),
        Message::RbmCard(RbmStandaloneCard {
            card_orientation: CardOrientation::Horizontal,
            thumbnail_image_alignment: ThumbnailAlignment::Right,
            card_content: content(),
        }),
        Message::RbmCarousel(RbmCarouselCard {
            card_width: CardWidth::Small,
            card_contents: vec![content(), content()],
        }),
        Message::ConversationSuccess(free(json!({"goal": "order"}))),
        Message::KnowledgeInfoCard,
        Message::ToolCall(ToolCall {
            tool: "projects/p/locations/l/agents/a/tools/t".into(),
            action: "look".into(),
            input_parameters: free(json!({"id": 7})),
        }),
    ]
}

/// The messages of a reply, without the text that it opens with.
fn sent(api: Spoken, reply: &Value) -> Value {
    let messages = match api {
        Spoken::V2 | Spoken::V2beta1 => &reply["fulfillmentMessages"],
        Spoken::V3 => &reply["fulfillmentResponse"]["messages"],
    };
    messages.get(1).cloned().unwrap_or_default()
}

#[tokio::test]
async fn each_kind_is_written_or_stood_in_for_by_its_words() {
    let stage = Stage::start().await;
    for api in Spoken::ALL {
        let mut written = Map::new();
        for message in each_kind() {
            let is_ssml = matches!(&message, Message::Speech(speech) if !speech.ssml.is_empty());
            let kind = if is_ssml { "ssml" } else { message.kind() };
            let reply = stage.says(api, Reply::text("first").and(message.clone())).await;
            written.insert(kind.to_owned(), sent(api, &reply));
        }
        insta::assert_json_snapshot!(format!("kinds_{}", api.name()), written);
    }
}

#[tokio::test]
async fn each_platform_has_its_name() {
    let stage = Stage::start().await;
    let platforms = [
        (Platform::Facebook, "FACEBOOK"),
        (Platform::Slack, "SLACK"),
        (Platform::Telegram, "TELEGRAM"),
        (Platform::Kik, "KIK"),
        (Platform::Skype, "SKYPE"),
        (Platform::Line, "LINE"),
        (Platform::Viber, "VIBER"),
        (Platform::ActionsOnGoogle, "ACTIONS_ON_GOOGLE"),
        (Platform::Telephony, "TELEPHONY"),
        (Platform::GoogleHangouts, "GOOGLE_HANGOUTS"),
    ];
    for (platform, name) in platforms {
        let reply = Reply::text("first").on(platform, Message::Text(vec!["hello".into()]));
        assert_eq!(
            sent(Spoken::V2beta1, &stage.says(Spoken::V2beta1, reply.clone()).await)["platform"],
            name
        );
        assert_eq!(sent(Spoken::V3, &stage.says(Spoken::V3, reply).await)["channel"], name);
    }
}

#[tokio::test]
async fn message_that_lacks_a_required_field_is_said_in_words() {
    let stage = Stage::start().await;
    let incomplete = Message::BasicCard(BasicCard {
        title: "Title".into(),
        subtitle: "and subtitle".into(),
        ..BasicCard::default()
    });
    let undialable = Message::RbmText(RbmText {
        text: "call us".into(),
        rbm_suggestion: vec![RbmSuggestion::Action(RbmAction {
            does: Some(RbmDoes::Dial(RbmDial::default())),
            ..RbmAction::default()
        })],
    });
    for (message, words) in [(incomplete, "Title\nand subtitle"), (undialable, "call us")] {
        let reply = stage.says(Spoken::V2beta1, Reply::text("first").and(message)).await;
        assert_eq!(sent(Spoken::V2beta1, &reply), json!({"text": {"text": [words]}}));
    }
}

#[tokio::test]
async fn simple_response_is_spoken_one_way() {
    let stage = Stage::start().await;
    let response = |text_to_speech: &str, ssml: &str, display_text: &str| SimpleResponse {
        text_to_speech: text_to_speech.into(),
        ssml: ssml.into(),
        display_text: display_text.into(),
    };
    let responses = vec![
        response("a", "<speak/>", "b"),
        response("", "", "c"),
        response(" ", "", ""),
    ];
    let reply = stage
        .says(
            Spoken::V2,
            Reply::text("first").and(Message::SimpleResponses(responses)),
        )
        .await;
    let expected = json!([{"ssml": "<speak/>", "displayText": "b"}, {"textToSpeech": "c", "displayText": "c"}]);
    assert_eq!(sent(Spoken::V2, &reply)["simpleResponses"]["simpleResponses"], expected);
}
