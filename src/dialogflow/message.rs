//! Rich messages: every kind that ES and CX take, with the text that stands in where one does not.
//!
//! The fields are those of Google's protos (`google.cloud.dialogflow.v2beta1.Intent.Message`,
//! `google.cloud.dialogflow.cx.v3.ResponseMessage`); an empty field is not written.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// One message of a reply.
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

/// The chat platform that a message is for.
#[expect(missing_docs, reason = "each is the platform of its name")]
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

impl Platform {
    /// The platform's name on the wire (ES `platform`, CX `channel`); `None` for any.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Facebook => Some("FACEBOOK"),
            Self::Slack => Some("SLACK"),
            Self::Telegram => Some("TELEGRAM"),
            Self::Kik => Some("KIK"),
            Self::Skype => Some("SKYPE"),
            Self::Line => Some("LINE"),
            Self::Viber => Some("VIBER"),
            Self::ActionsOnGoogle => Some("ACTIONS_ON_GOOGLE"),
            Self::Telephony => Some("TELEPHONY"),
            Self::GoogleHangouts => Some("GOOGLE_HANGOUTS"),
        }
    }
}

/// Declares structs whose empty fields are not written.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(skip_serializing_if = "Absent::is_absent")] pub $field: $kind,)*
        }
    )*};
}

wire! {
    /// A picture.
    Image {
        /// Where it is, https.
        image_uri: String,
        /// What it shows, for those who cannot see it.
        accessibility_text: String,
    }
    /// Buttons that answer with their own text.
    QuickReplies {
        /// What stands above them.
        title: String,
        /// Their texts.
        quick_replies: Vec<String>,
    }
    /// A card.
    Card {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Its picture, https.
        image_uri: String,
        /// Its buttons.
        buttons: Vec<CardButton>,
    }
    /// A button of a [`Card`].
    CardButton {
        /// What stands on it.
        text: String,
        /// The text it sends, or the URL it opens.
        postback: String,
    }
    /// What a voice assistant says and shows.
    SimpleResponse {
        /// Spoken, as plain text; or `ssml`.
        text_to_speech: String,
        /// Spoken, as SSML.
        ssml: String,
        /// Shown.
        display_text: String,
    }
    /// A card with formatted text.
    BasicCard {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Body; v2beta1 requires it.
        formatted_text: String,
        /// Picture.
        image: Option<Image>,
        /// Buttons.
        buttons: Vec<LinkButton>,
    }
    /// A button that opens a link.
    LinkButton {
        /// What stands on it; required.
        title: String,
        /// What it opens; required.
        open_uri_action: OpenUri,
    }
    /// A link to open.
    OpenUri {
        /// Its URI.
        uri: String,
    }
    /// A chip that opens a site.
    LinkOutSuggestion {
        /// Name of the site; required.
        destination_name: String,
        /// Its URI; required.
        uri: String,
    }
    /// A list to choose from.
    ListSelect {
        /// Title.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Items; at least one (2 to 30 are shown).
        items: Vec<SelectItem>,
    }
    /// A carousel to choose from.
    CarouselSelect {
        /// Items; at least one (2 to 10 are shown).
        items: Vec<SelectItem>,
    }
    /// An item to choose.
    SelectItem {
        /// What is sent when it is chosen; required.
        info: SelectItemInfo,
        /// Title; required.
        title: String,
        /// Description.
        description: String,
        /// Picture.
        image: Option<Image>,
    }
    /// What an item sends.
    SelectItemInfo {
        /// Its key; required.
        key: String,
        /// Other words by which the user may choose it.
        synonyms: Vec<String>,
    }
    /// A carousel of links.
    BrowseCarouselCard {
        /// Items; at least one.
        items: Vec<BrowseItem>,
        /// `GRAY`, `WHITE`, `CROPPED` or `BLURRED_BACKGROUND`.
        image_display_options: String,
    }
    /// An item of a [`BrowseCarouselCard`].
    BrowseItem {
        /// What it opens; required.
        open_uri_action: OpenUrl,
        /// Title; required.
        title: String,
        /// Description.
        description: String,
        /// Picture.
        image: Option<Image>,
        /// Footer.
        footer: String,
    }
    /// A page to open.
    OpenUrl {
        /// Its URL; required.
        url: String,
        /// `AMP_ACTION` or `AMP_CONTENT`.
        url_type_hint: String,
    }
    /// A table.
    TableCard {
        /// Title; required.
        title: String,
        /// Subtitle.
        subtitle: String,
        /// Picture.
        image: Option<Image>,
        /// Columns.
        column_properties: Vec<ColumnProperties>,
        /// Rows; three are shown.
        rows: Vec<TableCardRow>,
        /// Buttons.
        buttons: Vec<LinkButton>,
    }
    /// A column of a [`TableCard`].
    ColumnProperties {
        /// Header; required.
        header: String,
        /// `LEADING`, `CENTER` or `TRAILING`.
        horizontal_alignment: String,
    }
    /// A row of a [`TableCard`].
    TableCardRow {
        /// Cells.
        cells: Vec<TableCardCell>,
        /// Whether a line follows it.
        divider_after: bool,
    }
    /// A cell of a [`TableCard`].
    TableCardCell {
        /// Its text; required.
        text: String,
    }
    /// Audio to play in a player.
    MediaContent {
        /// `AUDIO`.
        media_type: String,
        /// What to play; at least one.
        media_objects: Vec<MediaObject>,
    }
    /// One recording.
    MediaObject {
        /// Name; required.
        name: String,
        /// Description.
        description: String,
        /// Large picture; or `icon`.
        large_image: Option<Image>,
        /// Small picture.
        icon: Option<Image>,
        /// Where the audio is; required.
        content_url: String,
    }
    /// Speech; one of the two.
    Speech {
        /// Plain text.
        text: String,
        /// SSML.
        ssml: String,
    }
    /// RBM text with suggestions.
    RbmText {
        /// Text; required.
        text: String,
        /// Suggestions.
        rbm_suggestion: Vec<RbmSuggestion>,
    }
    /// A suggestion: one of the two.
    RbmSuggestion {
        /// Answers with a text.
        reply: Option<RbmReply>,
        /// Does something on the telephone.
        action: Option<RbmAction>,
    }
    /// A suggested answer.
    RbmReply {
        /// What stands on it.
        text: String,
        /// What it sends.
        postback_data: String,
    }
    /// A suggested action: one of `dial`, `open_url`, `share_location`.
    RbmAction {
        /// What stands on it.
        text: String,
        /// What it sends.
        postback_data: String,
        /// Dials a number.
        dial: Option<RbmDial>,
        /// Opens a link.
        open_url: Option<OpenUri>,
        /// Shares the user's location.
        share_location: Option<ShareLocation>,
    }
    /// A number to dial.
    RbmDial {
        /// In E.164; required.
        phone_number: String,
    }
    /// Shares the user's location.
    ShareLocation {}
    /// An RBM card.
    RbmStandaloneCard {
        /// `HORIZONTAL` or `VERTICAL`; required.
        card_orientation: String,
        /// `LEFT` or `RIGHT`; required.
        thumbnail_image_alignment: String,
        /// What is on it; required.
        card_content: RbmCardContent,
    }
    /// What is on an RBM card.
    RbmCardContent {
        /// Title.
        title: String,
        /// Description.
        description: String,
        /// Picture or film.
        media: Option<RbmMedia>,
        /// Suggestions.
        suggestions: Vec<RbmSuggestion>,
    }
    /// A picture or film.
    RbmMedia {
        /// Where it is; required.
        file_uri: String,
        /// Where its thumbnail is.
        thumbnail_uri: String,
        /// `SHORT`, `MEDIUM` or `TALL`; required.
        height: String,
    }
    /// An RBM carousel.
    RbmCarouselCard {
        /// `SMALL` or `MEDIUM`; required.
        card_width: String,
        /// Its cards, 2 to 10; required.
        card_contents: Vec<RbmCardContent>,
    }
    /// A tool for the client to run.
    ToolCall {
        /// Full name of the tool; required.
        tool: String,
        /// Which of its actions; required.
        action: String,
        /// Its input.
        input_parameters: Map<String, Value>,
    }
}

/// Whether a field is left out.
trait Absent {
    fn is_absent(&self) -> bool;
}

impl Absent for String {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for bool {
    fn is_absent(&self) -> bool {
        !self
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Absent for Map<String, Value> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// Sub-messages that their parent requires are written even when empty, so that [`Message::lacks`] sees them.
macro_rules! always_written {
    ($($name:ident),*) => {$(impl Absent for $name { fn is_absent(&self) -> bool { false } })*};
}
always_written!(OpenUri, OpenUrl, SelectItemInfo, RbmCardContent);

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
        let card = |content: &RbmCardContent| lines(&[&content.title, &content.description]);
        let items = |title: &str, items: &[SelectItem]| {
            let titles: Vec<&str> = std::iter::once(title)
                .chain(items.iter().map(|item| item.title.as_str()))
                .collect();
            lines(&titles)
        };
        match self {
            Self::Text(variants) => variants.iter().find(|text| !text.trim().is_empty()).cloned(),
            Self::Payload(_)
            | Self::Image(_)
            | Self::PlayAudio(_)
            | Self::TransferCall(_)
            | Self::ConversationSuccess(_)
            | Self::KnowledgeInfoCard
            | Self::ToolCall(_) => None,
            Self::QuickReplies(quick) => lines(&[&quick.title, &quick.quick_replies.join(" / ")]),
            Self::Card(card) => lines(&[&card.title, &card.subtitle]),
            Self::SimpleResponses(responses) => responses.first().and_then(|first| {
                lines(&[if first.display_text.is_empty() {
                    &first.text_to_speech
                } else {
                    &first.display_text
                }])
            }),
            Self::BasicCard(card) => lines(&[&card.title, &card.subtitle, &card.formatted_text]),
            Self::Suggestions(titles) => lines(&[&titles.join(" / ")]),
            Self::LinkOutSuggestion(link) => lines(&[&format!("{} {}", link.destination_name, link.uri)]),
            Self::ListSelect(list) => items(&list.title, &list.items),
            Self::CarouselSelect(carousel) => items("", &carousel.items),
            Self::BrowseCarouselCard(carousel) => {
                let links: Vec<String> = carousel
                    .items
                    .iter()
                    .map(|item| format!("{} {}", item.title, item.open_uri_action.url))
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
            Self::Speech(speech) => lines(&[&speech.text]),
            Self::RbmText(text) => lines(&[&text.text]),
            Self::RbmCard(standalone) => card(&standalone.card_content),
            Self::RbmCarousel(carousel) => {
                let cards: Vec<String> = carousel.card_contents.iter().filter_map(card).collect();
                lines(&cards.iter().map(String::as_str).collect::<Vec<_>>())
            }
        }
    }

    /// The message in ES JSON; `None` where that version does not take its kind.
    pub(super) fn es(&self, beta: bool) -> Option<Value> {
        let only_beta = |body: Value| beta.then_some(body);
        let body = match self {
            Self::Text(text) => json!({"text": text}),
            Self::Payload(payload) => Value::Object(payload.clone()),
            Self::Image(image) => json!(image),
            Self::QuickReplies(quick) => json!(quick),
            Self::Card(card) => json!(card),
            Self::SimpleResponses(responses) => json!({"simpleResponses": responses}),
            Self::BasicCard(card) => json!(card),
            Self::Suggestions(titles) => {
                let chips: Vec<Value> = titles.iter().map(|title| json!({"title": title})).collect();
                json!({"suggestions": chips})
            }
            Self::LinkOutSuggestion(link) => json!(link),
            Self::ListSelect(list) => json!(list),
            Self::CarouselSelect(carousel) => json!(carousel),
            Self::BrowseCarouselCard(carousel) => json!(carousel),
            Self::TableCard(table) => json!(table),
            Self::MediaContent(media) => json!(media),
            Self::PlayAudio(uri) => only_beta(json!({"audioUri": uri}))?,
            Self::Speech(speech) => only_beta(one_of(speech))?,
            Self::TransferCall(number) => only_beta(json!({"phoneNumber": number}))?,
            Self::RbmText(text) => only_beta(json!(text))?,
            Self::RbmCard(card) => only_beta(json!(card))?,
            Self::RbmCarousel(carousel) => only_beta(json!(carousel))?,
            Self::ConversationSuccess(_) | Self::KnowledgeInfoCard | Self::ToolCall(_) => return None,
        };
        Some(json!({ self.kind(): body }))
    }

    /// The message in CX JSON; `None` where CX does not take its kind.
    pub(super) fn cx(&self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(json!({"text": {"text": text}})),
            Self::Payload(payload) => Some(json!({"payload": payload})),
            Self::PlayAudio(uri) => Some(json!({"playAudio": {"audioUri": uri}})),
            Self::Speech(speech) => Some(json!({"outputAudioText": one_of(speech)})),
            Self::TransferCall(number) => Some(json!({"telephonyTransferCall": {"phoneNumber": number}})),
            Self::ConversationSuccess(metadata) => Some(json!({"conversationSuccess": {"metadata": metadata}})),
            Self::KnowledgeInfoCard => Some(json!({"knowledgeInfoCard": {}})),
            Self::ToolCall(call) => Some(json!({"toolCall": call})),
            Self::Image(_)
            | Self::QuickReplies(_)
            | Self::Card(_)
            | Self::SimpleResponses(_)
            | Self::BasicCard(_)
            | Self::Suggestions(_)
            | Self::LinkOutSuggestion(_)
            | Self::ListSelect(_)
            | Self::CarouselSelect(_)
            | Self::BrowseCarouselCard(_)
            | Self::TableCard(_)
            | Self::MediaContent(_)
            | Self::RbmText(_)
            | Self::RbmCard(_)
            | Self::RbmCarousel(_) => None,
        }
    }

    /// The first required field that `wire`, this message's JSON, leaves empty.
    ///
    /// Source: the fields whose description in Google's protos begins with “Required.”
    pub(super) fn lacks(&self, wire: &Value) -> Option<&'static str> {
        let required: &[&'static str] = match self {
            Self::Text(_) => &["text.text[]"],
            Self::SimpleResponses(_) => &["simpleResponses.simpleResponses[]"],
            Self::BasicCard(_) => &[
                "basicCard.formattedText",
                "basicCard.buttons?.title",
                "basicCard.buttons?.openUriAction.uri",
            ],
            Self::Suggestions(_) => &["suggestions.suggestions[]", "suggestions.suggestions[].title"],
            Self::LinkOutSuggestion(_) => &["linkOutSuggestion.destinationName", "linkOutSuggestion.uri"],
            Self::ListSelect(_) => &[
                "listSelect.items[]",
                "listSelect.items[].info.key",
                "listSelect.items[].title",
            ],
            Self::CarouselSelect(_) => &[
                "carouselSelect.items[]",
                "carouselSelect.items[].info.key",
                "carouselSelect.items[].title",
            ],
            Self::BrowseCarouselCard(_) => &[
                "browseCarouselCard.items[]",
                "browseCarouselCard.items[].openUriAction.url",
                "browseCarouselCard.items[].title",
            ],
            Self::TableCard(_) => &[
                "tableCard.title",
                "tableCard.columnProperties?.header",
                "tableCard.rows?.cells?.text",
                "tableCard.buttons?.title",
                "tableCard.buttons?.openUriAction.uri",
            ],
            Self::MediaContent(_) => &[
                "mediaContent.mediaObjects[]",
                "mediaContent.mediaObjects[].name",
                "mediaContent.mediaObjects[].contentUrl",
            ],
            Self::PlayAudio(_) => &["telephonyPlayAudio?.audioUri", "playAudio?.audioUri"],
            Self::TransferCall(_) => &["telephonyTransferCall.phoneNumber"],
            Self::RbmText(_) => &["rbmText.text"],
            Self::RbmCard(_) => &[
                "rbmStandaloneRichCard.cardOrientation",
                "rbmStandaloneRichCard.thumbnailImageAlignment",
                "rbmStandaloneRichCard.cardContent.media?.fileUri",
                "rbmStandaloneRichCard.cardContent.media?.height",
            ],
            Self::RbmCarousel(_) => &[
                "rbmCarouselRichCard.cardWidth",
                "rbmCarouselRichCard.cardContents[]",
                "rbmCarouselRichCard.cardContents[].media?.fileUri",
                "rbmCarouselRichCard.cardContents[].media?.height",
            ],
            Self::ToolCall(_) => &["toolCall.tool", "toolCall.action"],
            Self::Payload(_)
            | Self::Image(_)
            | Self::QuickReplies(_)
            | Self::Card(_)
            | Self::Speech(_)
            | Self::ConversationSuccess(_)
            | Self::KnowledgeInfoCard => &[],
        };
        required.iter().copied().find(|path| !filled(wire, path))
    }
}

/// Of plain text and SSML, which exclude each other, the one that is set.
fn one_of(speech: &Speech) -> Value {
    if speech.ssml.is_empty() {
        json!({"text": speech.text})
    } else {
        json!({"ssml": speech.ssml})
    }
}

/// Whether the field at `path` is filled: `a.b` wants both, `a?.b` wants `b` where there is an `a`, `a[]` wants at
/// least one item; a list is followed into each of its items.
fn filled(value: &Value, path: &str) -> bool {
    if let Value::Array(items) = value {
        return items.iter().all(|item| filled(item, path));
    }
    let (step, rest) = path
        .split_once('.')
        .map_or((path, None), |(step, rest)| (step, Some(rest)));
    let (name, optional) = step.strip_suffix('?').map_or((step, false), |name| (name, true));
    let field = &value[name.trim_end_matches("[]")];
    let empty = match field {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    match rest {
        _ if empty => optional,
        None => true,
        Some(rest) => filled(field, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_field_that_is_empty_is_named() {
        let card = Message::BasicCard(BasicCard {
            formatted_text: "x".into(),
            buttons: vec![LinkButton {
                title: "Open".into(),
                ..LinkButton::default()
            }],
            ..BasicCard::default()
        });
        let wire = card.es(true).unwrap();
        assert_eq!(card.lacks(&wire), Some("basicCard.buttons?.openUriAction.uri"));
        let list = Message::ListSelect(ListSelect::default());
        assert_eq!(list.lacks(&list.es(false).unwrap()), Some("listSelect.items[]"));
        let text = Message::Text(vec!["hello".into()]);
        assert_eq!(text.lacks(&text.es(false).unwrap()), None);
    }

    #[test]
    fn kind_that_an_api_lacks_is_not_written() {
        let speech = Message::Speech(Speech {
            text: "hello".into(),
            ..Speech::default()
        });
        assert_eq!(speech.es(false), None);
        assert_eq!(speech.plain_text().unwrap(), "hello");
        assert_eq!(speech.cx().unwrap(), json!({"outputAudioText": {"text": "hello"}}));
    }
}
