//! Messages in the JSON of each API, and what Dialogflow requires of them.

use serde_json::{Value, json};
use tracing::warn;

use crate::reply::message::{Message, SimpleResponse, Speech};

/// The message in ES JSON; `None` where that version does not take its kind.
pub(super) fn es(message: &Message, beta: bool) -> Option<Value> {
    let only_beta = |wire: Value| beta.then_some(wire);
    match message {
        Message::Text(variants) => Some(json!({"text": {"text": filled_in(variants)}})),
        Message::Payload(payload) => Some(json!({"payload": payload})),
        Message::Image(image) => Some(json!({"image": image})),
        Message::QuickReplies(quick) => Some(json!({"quickReplies": quick})),
        Message::Card(card) => Some(json!({"card": card})),
        Message::SimpleResponses(responses) => {
            let spoken: Vec<Value> = responses.iter().filter_map(simple_response).collect();
            Some(json!({"simpleResponses": {"simpleResponses": spoken}}))
        }
        Message::BasicCard(card) => Some(json!({"basicCard": card})),
        Message::Suggestions(titles) => {
            let chips: Vec<Value> = filled_in(titles).iter().map(|title| json!({"title": title})).collect();
            Some(json!({"suggestions": {"suggestions": chips}}))
        }
        Message::LinkOutSuggestion(link) => Some(json!({"linkOutSuggestion": link})),
        Message::ListSelect(list) => Some(json!({"listSelect": list})),
        Message::CarouselSelect(carousel) => Some(json!({"carouselSelect": carousel})),
        Message::BrowseCarouselCard(carousel) => Some(json!({"browseCarouselCard": carousel})),
        Message::TableCard(table) => Some(json!({"tableCard": table})),
        Message::MediaContent(media) => Some(json!({"mediaContent": media})),
        Message::PlayAudio(uri) => only_beta(json!({"telephonyPlayAudio": {"audioUri": uri}})),
        Message::Speech(speech) => only_beta(json!({"telephonySynthesizeSpeech": one_of(speech)?})),
        Message::TransferCall(number) => only_beta(json!({"telephonyTransferCall": {"phoneNumber": number}})),
        Message::RbmText(text) => only_beta(json!({"rbmText": text})),
        Message::RbmCard(card) => only_beta(json!({"rbmStandaloneRichCard": card})),
        Message::RbmCarousel(carousel) => only_beta(json!({"rbmCarouselRichCard": carousel})),
        Message::ConversationSuccess(_) | Message::KnowledgeInfoCard | Message::ToolCall(_) => None,
    }
}

/// The message in CX JSON; `None` where CX does not take its kind.
pub(super) fn cx(message: &Message) -> Option<Value> {
    match message {
        Message::Text(variants) => Some(json!({"text": {"text": filled_in(variants)}})),
        Message::Payload(payload) => Some(json!({"payload": payload})),
        Message::PlayAudio(uri) => Some(json!({"playAudio": {"audioUri": uri}})),
        Message::Speech(speech) => Some(json!({"outputAudioText": one_of(speech)?})),
        Message::TransferCall(number) => Some(json!({"telephonyTransferCall": {"phoneNumber": number}})),
        Message::ConversationSuccess(metadata) => Some(json!({"conversationSuccess": {"metadata": metadata}})),
        Message::KnowledgeInfoCard => Some(json!({"knowledgeInfoCard": {}})),
        Message::ToolCall(call) => Some(json!({"toolCall": call})),
        Message::Image(_)
        | Message::QuickReplies(_)
        | Message::Card(_)
        | Message::SimpleResponses(_)
        | Message::BasicCard(_)
        | Message::Suggestions(_)
        | Message::LinkOutSuggestion(_)
        | Message::ListSelect(_)
        | Message::CarouselSelect(_)
        | Message::BrowseCarouselCard(_)
        | Message::TableCard(_)
        | Message::MediaContent(_)
        | Message::RbmText(_)
        | Message::RbmCard(_)
        | Message::RbmCarousel(_) => None,
    }
}

/// Whether `wire`, the JSON of `message`, has all that Dialogflow requires; a warning names what it lacks.
pub(super) fn is_complete(message: &Message, wire: &Value) -> bool {
    let lacks = lacks(message, wire);
    if let Some(field) = lacks {
        warn!(
            message.kind = message.kind(),
            field, "rich message not sent: Dialogflow requires this field"
        );
    }
    lacks.is_none()
}

/// The first required field that `wire`, the message's JSON, leaves empty.
///
/// Source: the fields whose description in Google's protos begins with “Required.”
fn lacks(message: &Message, wire: &Value) -> Option<&'static str> {
    let required: &[&'static str] = match message {
        Message::Text(_) => &["text.text[]"],
        Message::SimpleResponses(_) => &["simpleResponses.simpleResponses[]"],
        Message::BasicCard(_) => &[
            "basicCard.formattedText|image",
            "basicCard.buttons?.title",
            "basicCard.buttons?.openUriAction.uri",
        ],
        Message::Suggestions(_) => &["suggestions.suggestions[]", "suggestions.suggestions[].title"],
        Message::LinkOutSuggestion(_) => &["linkOutSuggestion.destinationName", "linkOutSuggestion.uri"],
        Message::ListSelect(_) => &[
            "listSelect.items[]",
            "listSelect.items[].info.key",
            "listSelect.items[].title",
        ],
        Message::CarouselSelect(_) => &[
            "carouselSelect.items[]",
            "carouselSelect.items[].info.key",
            "carouselSelect.items[].title",
        ],
        Message::BrowseCarouselCard(_) => &[
            "browseCarouselCard.items[]",
            "browseCarouselCard.items[].openUriAction.url",
            "browseCarouselCard.items[].title",
        ],
        Message::TableCard(_) => &[
            "tableCard.title",
            "tableCard.columnProperties?.header",
            "tableCard.rows?.cells?.text",
            "tableCard.buttons?.title",
            "tableCard.buttons?.openUriAction.uri",
        ],
        Message::MediaContent(_) => &[
            "mediaContent.mediaObjects[]",
            "mediaContent.mediaObjects[].name",
            "mediaContent.mediaObjects[].contentUrl",
        ],
        Message::PlayAudio(_) => &["telephonyPlayAudio?.audioUri", "playAudio?.audioUri"],
        Message::TransferCall(_) => &["telephonyTransferCall.phoneNumber"],
        Message::RbmText(_) => &[
            "rbmText.text",
            "rbmText.rbmSuggestion?.action?.dial?.phoneNumber",
            "rbmText.rbmSuggestion?.action?.openUrl?.uri",
        ],
        Message::RbmCard(_) => &[
            "rbmStandaloneRichCard.cardContent.media?.fileUri",
            "rbmStandaloneRichCard.cardContent.suggestions?.action?.dial?.phoneNumber",
            "rbmStandaloneRichCard.cardContent.suggestions?.action?.openUrl?.uri",
        ],
        Message::RbmCarousel(_) => &[
            "rbmCarouselRichCard.cardContents[]",
            "rbmCarouselRichCard.cardContents[].media?.fileUri",
            "rbmCarouselRichCard.cardContents[].suggestions?.action?.dial?.phoneNumber",
            "rbmCarouselRichCard.cardContents[].suggestions?.action?.openUrl?.uri",
        ],
        Message::ToolCall(_) => &["toolCall.tool", "toolCall.action"],
        Message::Payload(_)
        | Message::Image(_)
        | Message::QuickReplies(_)
        | Message::Card(_)
        | Message::Speech(_)
        | Message::ConversationSuccess(_)
        | Message::KnowledgeInfoCard => &[],
    };
    required.iter().copied().find(|path| !filled(wire, path))
}

/// The texts that say something: a blank variant, picked by the platform, would be silence.
fn filled_in(texts: &[String]) -> Vec<&str> {
    let texts = texts.iter().map(String::as_str);
    texts.filter(|text| !text.trim().is_empty()).collect()
}

/// Of plain text and SSML, which exclude each other, the one that is set; `None` where neither is.
fn one_of(speech: &Speech) -> Option<Value> {
    if !speech.ssml.trim().is_empty() {
        return Some(json!({"ssml": speech.ssml}));
    }
    (!speech.text.trim().is_empty()).then(|| json!({"text": speech.text}))
}

/// The same of a simple response; one that only shows something says it too.
fn simple_response(response: &SimpleResponse) -> Option<Value> {
    let SimpleResponse {
        text_to_speech,
        ssml,
        display_text,
    } = response;
    let plain = [text_to_speech, display_text]
        .into_iter()
        .find(|text| !text.trim().is_empty());
    let mut wire = if ssml.trim().is_empty() {
        json!({"textToSpeech": plain?})
    } else {
        json!({"ssml": ssml})
    };
    if !display_text.is_empty() {
        wire["displayText"] = Value::from(display_text.as_str());
    }
    Some(wire)
}

/// Whether the field at `path` is filled: `a.b` wants both, `a?.b` wants `b` where there is an `a`, `a[]` wants at
/// least one item, `a|b` either; a list is followed into each of its items.
fn filled(value: &Value, path: &str) -> bool {
    if let Value::Array(items) = value {
        return items.iter().all(|item| filled(item, path));
    }
    let (step, rest) = path
        .split_once('.')
        .map_or((path, None), |(step, rest)| (step, Some(rest)));
    if let Some((one, other)) = step.split_once('|') {
        return filled(value, one) || filled(value, other);
    }
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
    use crate::reply::message::{BasicCard, Image, LinkButton, ListSelect};

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
        let wire = es(&card, true).unwrap();
        assert_eq!(lacks(&card, &wire), Some("basicCard.buttons?.openUriAction.uri"));
        let list = Message::ListSelect(ListSelect::default());
        assert_eq!(lacks(&list, &es(&list, false).unwrap()), Some("listSelect.items[]"));
        let text = Message::Text(vec!["hello".into()]);
        assert_eq!(lacks(&text, &es(&text, false).unwrap()), None);
    }

    #[test]
    fn picture_stands_in_for_the_text_of_a_basic_card() {
        let card = |image: Option<Image>| {
            Message::BasicCard(BasicCard {
                image,
                ..BasicCard::default()
            })
        };
        let empty = card(None);
        assert_eq!(
            lacks(&empty, &es(&empty, false).unwrap()),
            Some("basicCard.formattedText|image")
        );
        let picture = card(Some(Image {
            image_uri: "https://example.com/a.png".into(),
            ..Image::default()
        }));
        assert_eq!(lacks(&picture, &es(&picture, false).unwrap()), None);
    }

    #[test]
    fn kind_that_an_api_lacks_is_not_written() {
        let speech = Message::Speech(Speech {
            text: "hello".into(),
            ..Speech::default()
        });
        assert_eq!(es(&speech, false), None);
        assert_eq!(speech.plain_text().unwrap(), "hello");
        assert_eq!(cx(&speech).unwrap(), json!({"outputAudioText": {"text": "hello"}}));
    }
}
