//! Rich messages in the JSON of each API, and what Dialogflow requires of them.

use serde_json::{Value, json};

use super::{Message, SimpleResponse, Speech};

impl Message {
    /// The message in ES JSON; `None` where that version does not take its kind.
    pub(crate) fn es(&self, beta: bool) -> Option<Value> {
        let only_beta = |body: Value| beta.then_some(body);
        let body = match self {
            Self::Text(variants) => json!({"text": filled_in(variants)}),
            Self::Payload(payload) => Value::Object(payload.clone()),
            Self::Image(image) => json!(image),
            Self::QuickReplies(quick) => json!(quick),
            Self::Card(card) => json!(card),
            Self::SimpleResponses(responses) => {
                let spoken: Vec<Value> = responses.iter().filter_map(simple_response).collect();
                json!({"simpleResponses": spoken})
            }
            Self::BasicCard(card) => json!(card),
            Self::Suggestions(titles) => {
                let chips: Vec<Value> = filled_in(titles).iter().map(|title| json!({"title": title})).collect();
                json!({"suggestions": chips})
            }
            Self::LinkOutSuggestion(link) => json!(link),
            Self::ListSelect(list) => json!(list),
            Self::CarouselSelect(carousel) => json!(carousel),
            Self::BrowseCarouselCard(carousel) => json!(carousel),
            Self::TableCard(table) => json!(table),
            Self::MediaContent(media) => json!(media),
            Self::PlayAudio(uri) => only_beta(json!({"audioUri": uri}))?,
            Self::Speech(speech) => only_beta(one_of(speech)?)?,
            Self::TransferCall(number) => only_beta(json!({"phoneNumber": number}))?,
            Self::RbmText(text) => only_beta(json!(text))?,
            Self::RbmCard(card) => only_beta(json!(card))?,
            Self::RbmCarousel(carousel) => only_beta(json!(carousel))?,
            Self::ConversationSuccess(_) | Self::KnowledgeInfoCard | Self::ToolCall(_) => return None,
        };
        Some(json!({ self.kind(): body }))
    }

    /// The message in CX JSON; `None` where CX does not take its kind.
    pub(crate) fn cx(&self) -> Option<Value> {
        match self {
            Self::Text(variants) => Some(json!({"text": {"text": filled_in(variants)}})),
            Self::Payload(payload) => Some(json!({"payload": payload})),
            Self::PlayAudio(uri) => Some(json!({"playAudio": {"audioUri": uri}})),
            Self::Speech(speech) => Some(json!({"outputAudioText": one_of(speech)?})),
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
    pub(crate) fn lacks(&self, wire: &Value) -> Option<&'static str> {
        let required: &[&'static str] = match self {
            Self::Text(_) => &["text.text[]"],
            Self::SimpleResponses(_) => &["simpleResponses.simpleResponses[]"],
            Self::BasicCard(_) => &[
                "basicCard.formattedText|image",
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
            Self::RbmText(_) => &[
                "rbmText.text",
                "rbmText.rbmSuggestion?.action?.dial?.phoneNumber",
                "rbmText.rbmSuggestion?.action?.openUrl?.uri",
            ],
            Self::RbmCard(_) => &[
                "rbmStandaloneRichCard.cardContent.media?.fileUri",
                "rbmStandaloneRichCard.cardContent.suggestions?.action?.dial?.phoneNumber",
                "rbmStandaloneRichCard.cardContent.suggestions?.action?.openUrl?.uri",
            ],
            Self::RbmCarousel(_) => &[
                "rbmCarouselRichCard.cardContents[]",
                "rbmCarouselRichCard.cardContents[].media?.fileUri",
                "rbmCarouselRichCard.cardContents[].suggestions?.action?.dial?.phoneNumber",
                "rbmCarouselRichCard.cardContents[].suggestions?.action?.openUrl?.uri",
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
    use super::super::{BasicCard, Image, LinkButton, ListSelect};
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
    fn picture_stands_in_for_the_text_of_a_basic_card() {
        let card = |image: Option<Image>| {
            Message::BasicCard(BasicCard {
                image,
                ..BasicCard::default()
            })
        };
        let empty = card(None);
        assert_eq!(
            empty.lacks(&empty.es(false).unwrap()),
            Some("basicCard.formattedText|image")
        );
        let picture = card(Some(Image {
            image_uri: "https://example.com/a.png".into(),
            ..Image::default()
        }));
        assert_eq!(picture.lacks(&picture.es(false).unwrap()), None);
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
