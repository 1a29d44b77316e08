//! Messages: all that a reply can show or say, each kind with the words that stand in where a platform does not take it
//! ([`Message::plain_text`]).
//!
//! The kinds are those that any platform takes. So far all come from Dialogflow, and their fields are those of Google's
//! protos (`google.cloud.dialogflow.v2beta1.Intent.Message`, `google.cloud.dialogflow.cx.v3.ResponseMessage`); an empty field is
//! not written. How an API writes a kind is the platform's.

mod parts;
mod ssml;

use serde_json::{Map, Value};

pub use self::parts::*;
use crate::lang::Lang;

/// One message of a reply: what the user sees or hears.
///
/// Each says which APIs take it. Elsewhere its words are said; a kind that has none is left out, and the log says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Text, or variants of it of which the platform picks one. All APIs.
    Text(Vec<String>),
    /// A payload that the integration understands. All APIs.
    Payload(Map<String, Value>),
    /// A picture. ES.
    Image(Image),
    /// Buttons that answer with their own text. ES.
    QuickReplies(QuickReplies),
    /// A card. ES.
    Card(Card),
    /// What a voice assistant says and shows. ES.
    SimpleResponses(Vec<SimpleResponse>),
    /// A card with formatted text. ES.
    BasicCard(BasicCard),
    /// Suggestion chips, by their titles. ES.
    Suggestions(Vec<String>),
    /// A chip that opens a site. ES.
    LinkOutSuggestion(LinkOutSuggestion),
    /// A list to choose from. ES.
    ListSelect(ListSelect),
    /// A carousel to choose from. ES.
    CarouselSelect(CarouselSelect),
    /// A carousel of links. ES.
    BrowseCarouselCard(BrowseCarouselCard),
    /// A table. ES.
    TableCard(TableCard),
    /// Audio to play in a player. ES.
    MediaContent(MediaContent),
    /// Audio to play on the telephone, by its URI. ES v2beta1 and CX.
    PlayAudio(String),
    /// Speech on the telephone. ES v2beta1 and CX.
    Speech(Speech),
    /// Passes the call on to a number in E.164. ES v2beta1 and CX.
    TransferCall(String),
    /// RBM text with suggestions. ES v2beta1.
    RbmText(RbmText),
    /// An RBM card. ES v2beta1.
    RbmCard(RbmStandaloneCard),
    /// An RBM carousel. ES v2beta1.
    RbmCarousel(RbmCarouselCard),
    /// The conversation reached its goal; the metadata goes to the integration. CX.
    ConversationSuccess(Map<String, Value>),
    /// Where an info card of a knowledge answer is to stand. CX.
    KnowledgeInfoCard,
    /// Asks the client to run a tool. CX.
    ToolCall(ToolCall),
}

/// The chat service that a message is for, behind the platform that asks the bot (ES `platform`, CX `channel`).
#[expect(missing_docs, reason = "each is the service of its name")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// Any.
    #[default]
    Any,
    Facebook,
    Slack,
    Telegram,
    Kik,
    Skype,
    Line,
    Viber,
    ActionsOnGoogle,
    /// ES v2beta1 and CX.
    Telephony,
    GoogleHangouts,
}

impl Message {
    /// The name of the message's kind, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Payload(_) => "payload",
            Self::Image(_) => "image",
            Self::QuickReplies(_) => "quickReplies",
            Self::Card(_) => "card",
            Self::SimpleResponses(_) => "simpleResponses",
            Self::BasicCard(_) => "basicCard",
            Self::Suggestions(_) => "suggestions",
            Self::LinkOutSuggestion(_) => "linkOutSuggestion",
            Self::ListSelect(_) => "listSelect",
            Self::CarouselSelect(_) => "carouselSelect",
            Self::BrowseCarouselCard(_) => "browseCarouselCard",
            Self::TableCard(_) => "tableCard",
            Self::MediaContent(_) => "mediaContent",
            Self::PlayAudio(_) => "telephonyPlayAudio",
            Self::Speech(_) => "telephonySynthesizeSpeech",
            Self::TransferCall(_) => "telephonyTransferCall",
            Self::RbmText(_) => "rbmText",
            Self::RbmCard(_) => "rbmStandaloneRichCard",
            Self::RbmCarousel(_) => "rbmCarouselRichCard",
            Self::ConversationSuccess(_) => "conversationSuccess",
            Self::KnowledgeInfoCard => "knowledgeInfoCard",
            Self::ToolCall(_) => "toolCall",
        }
    }

    /// What the message says in words; `None` where it says nothing. Of variants, the first.
    pub fn plain_text(&self) -> Option<String> {
        let lines = |lines: &[&str]| {
            let said: Vec<&str> = lines.iter().copied().filter(|line| !line.trim().is_empty()).collect();
            (!said.is_empty()).then(|| said.join("\n"))
        };
        let choices = |texts: &[String]| {
            let texts = texts.iter().map(String::as_str);
            texts
                .filter(|text| !text.trim().is_empty())
                .collect::<Vec<_>>()
                .join(" / ")
        };
        let card = |content: &RbmCardContent| lines(&[&content.title, &content.description]);
        let items = |title: &str, items: &[SelectItem]| {
            let titles: Vec<&str> = std::iter::once(title)
                .chain(items.iter().map(|item| item.title.as_str()))
                .collect();
            lines(&titles)
        };
        match self {
            Self::Text(variants) => variants.iter().find(|text| !text.trim().is_empty()).cloned(),
            Self::Image(image) => {
                let words = [&image.accessibility_text, &image.image_uri];
                lines(&[words.into_iter().find(|words| !words.trim().is_empty())?])
            }
            Self::Payload(_)
            | Self::PlayAudio(_)
            | Self::TransferCall(_)
            | Self::ConversationSuccess(_)
            | Self::KnowledgeInfoCard
            | Self::ToolCall(_) => None,
            Self::QuickReplies(quick) => lines(&[&quick.title, &choices(&quick.quick_replies)]),
            Self::Card(card) => lines(&[&card.title, &card.subtitle]),
            Self::SimpleResponses(responses) => responses.first().and_then(|first| {
                let spoken = ssml::words(&first.ssml);
                let words = [&first.display_text, &first.text_to_speech, &spoken];
                lines(&[words.into_iter().find(|words| !words.trim().is_empty())?])
            }),
            Self::BasicCard(card) => lines(&[&card.title, &card.subtitle, &card.formatted_text]),
            Self::Suggestions(titles) => lines(&[&choices(titles)]),
            Self::LinkOutSuggestion(link) => lines(&[format!("{} {}", link.destination_name, link.uri).trim()]),
            Self::ListSelect(list) => items(&list.title, &list.items),
            Self::CarouselSelect(carousel) => items("", &carousel.items),
            Self::BrowseCarouselCard(carousel) => {
                let links: Vec<String> = carousel
                    .items
                    .iter()
                    .map(|item| format!("{} {}", item.title, item.open_uri_action.url).trim().to_owned())
                    .collect();
                lines(&links.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Self::TableCard(table) => {
                let row = |row: &TableCardRow| {
                    row.cells
                        .iter()
                        .map(|cell| cell.text.as_str())
                        .collect::<Vec<_>>()
                        .join(" | ")
                };
                let rows: Vec<String> = table.rows.iter().map(row).collect();
                lines(
                    &[table.title.as_str()]
                        .into_iter()
                        .chain(rows.iter().map(String::as_str))
                        .collect::<Vec<_>>(),
                )
            }
            Self::MediaContent(media) => lines(
                &media
                    .media_objects
                    .iter()
                    .map(|object| object.name.as_str())
                    .collect::<Vec<_>>(),
            ),
            Self::Speech(speech) if speech.text.trim().is_empty() => lines(&[&ssml::words(&speech.ssml)]),
            Self::Speech(speech) => lines(&[&speech.text]),
            Self::RbmText(text) => lines(&[&text.text]),
            Self::RbmCard(standalone) => card(&standalone.card_content),
            Self::RbmCarousel(carousel) => {
                let cards: Vec<String> = carousel.card_contents.iter().filter_map(card).collect();
                lines(&cards.iter().map(String::as_str).collect::<Vec<_>>())
            }
        }
    }

    /// What is said where an API does not take the message: its words, or how the user gets to the same by hand.
    pub(crate) fn stand_in(&self, lang: &Lang) -> Option<String> {
        if let Self::TransferCall(number) = self
            && !number.trim().is_empty()
        {
            Some(lang.pick([
                ("en", format!("Please call {number}.")),
                ("de", format!("Bitte rufen Sie {number} an.")),
            ]))
        } else if let Self::PlayAudio(uri) = self
            && !uri.trim().is_empty()
        {
            Some(lang.pick([
                ("en", format!("You can listen to it here: {uri}")),
                ("de", format!("Hier können Sie es anhören: {uri}")),
            ]))
        } else {
            self.plain_text()
        }
    }
}
