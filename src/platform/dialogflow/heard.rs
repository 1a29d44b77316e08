//! A reply of Dialogflow ES in plain words, as a terminal shows it.

use serde_json::{Map, Value};

/// What the user hears of a reply, and where it sends the conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// What is said, message after message.
    pub(crate) lines: Vec<String>,
    /// The event that the platform goes on with instead, and its parameters.
    pub(crate) follow_up: Option<(String, Map<String, Value>)>,
}

impl Heard {
    /// Reads a reply.
    pub(crate) fn of(reply: &Value) -> Self {
        let messages = reply["fulfillmentMessages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut lines: Vec<String> = messages.iter().filter_map(Value::as_object).flat_map(message).collect();
        if lines.is_empty() {
            lines.extend(text(&reply["fulfillmentText"]));
        }
        if let Some(payload) = reply.get("payload") {
            lines.push(format!("(payload) {payload}"));
        }
        for (flag, said) in [
            ("endInteraction", "(the conversation ends)"),
            ("liveAgentHandoff", "(handed over to a person)"),
        ] {
            if reply[flag] == true {
                lines.push(said.to_owned());
            }
        }
        let event = &reply["followupEventInput"];
        let follow_up = event["name"].as_str().map(|name| {
            let parameters = event["parameters"].as_object().cloned();
            (name.to_owned(), parameters.unwrap_or_default())
        });
        Self { lines, follow_up }
    }
}

/// One message; one for another platform says for which.
fn message(message: &Map<String, Value>) -> Vec<String> {
    let platform = message.get("platform").and_then(Value::as_str);
    let platform = platform.filter(|name| *name != "PLATFORM_UNSPECIFIED");
    let Some((kind, content)) = message.iter().find(|(name, _)| *name != "platform") else {
        return Vec::new();
    };
    let lines = match kind.as_str() {
        // One of several is picked by the platform.
        "text" => content["text"]
            .as_array()
            .and_then(|texts| text(texts.first()?))
            .into_iter()
            .collect(),
        "simpleResponses" => {
            let responses = content["simpleResponses"].as_array().into_iter().flatten();
            responses
                .filter_map(|said| text(&said["displayText"]).or_else(|| text(&said["textToSpeech"])))
                .collect()
        }
        "quickReplies" => joined([text(&content["title"]), choices(&content["quickReplies"])], " "),
        "suggestions" => choices_by(&content["suggestions"], "title").into_iter().collect(),
        "image" => joined(
            [
                Some("(image)".to_owned()),
                text(&content["accessibilityText"]),
                text(&content["imageUri"]),
            ],
            " ",
        ),
        "card" | "basicCard" => {
            let title = joined([text(&content["title"]), text(&content["subtitle"])], ": ");
            let image = text(&content["imageUri"]).or_else(|| text(&content["image"]["imageUri"]));
            let buttons = choices_by(&content["buttons"], "text").or_else(|| choices_by(&content["buttons"], "title"));
            let more = [
                text(&content["formattedText"]),
                image.map(|uri| format!("(image) {uri}")),
                buttons,
            ];
            title.into_iter().chain(more.into_iter().flatten()).collect()
        }
        "listSelect" | "carouselSelect" => {
            joined([text(&content["title"]), choices_by(&content["items"], "title")], " ")
        }
        kind => vec![format!("({kind}) {content}")],
    };
    match platform {
        Some(platform) => lines.into_iter().map(|line| format!("({platform}) {line}")).collect(),
        None => lines,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn joined<const N: usize>(parts: [Option<String>; N], by: &str) -> Vec<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        Vec::new()
    } else {
        vec![parts.join(by)]
    }
}

/// `[Yes] [No]`.
fn choices(values: &Value) -> Option<String> {
    bracketed(values.as_array()?.iter().filter_map(text))
}

fn choices_by(values: &Value, field: &str) -> Option<String> {
    bracketed(values.as_array()?.iter().filter_map(|value| text(&value[field])))
}

fn bracketed(names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.map(|name| format!("[{name}]")).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::text(json!({"text": {"text": ["Hello", "Hi"]}}), &["Hello"])]
    #[case::quick_replies(json!({"quickReplies": {"title": "Which?", "quickReplies": ["Yes", "No"]}}), &["Which? [Yes] [No]"])]
    #[case::card(
        json!({"card": {"title": "Laptop", "subtitle": "grey", "imageUri": "https://e/x", "buttons": [{"text": "Buy"}]}}),
        &["Laptop: grey", "(image) https://e/x", "[Buy]"]
    )]
    #[case::image(json!({"image": {"imageUri": "https://e/x", "accessibilityText": "a cat"}}), &["(image) a cat https://e/x"])]
    #[case::other_platform(json!({"platform": "SLACK", "text": {"text": ["Hi *there*"]}}), &["(SLACK) Hi *there*"])]
    #[case::suggestions(json!({"suggestions": {"suggestions": [{"title": "More"}]}}), &["[More]"])]
    #[case::list(json!({"listSelect": {"title": "Two", "items": [{"title": "A"}, {"title": "B"}]}}), &["Two [A] [B]"])]
    #[case::what_has_no_words_of_its_own(json!({"payload": {"a": 1}}), &["(payload) {\"a\":1}"])]
    fn message_is_told_in_plain_words(#[case] message: Value, #[case] lines: &[&str]) {
        let reply = json!({"fulfillmentText": "not said twice", "fulfillmentMessages": [message]});
        assert_eq!(Heard::of(&reply).lines, lines);
    }

    #[test]
    fn text_alone_is_said_and_an_event_is_where_it_goes_on() {
        assert_eq!(Heard::of(&json!({"fulfillmentText": "Hello"})).lines, ["Hello"]);
        let reply = json!({"followupEventInput": {"name": "PAY", "parameters": {"amount": 5}}});
        let (event, parameters) = Heard::of(&reply).follow_up.unwrap();
        assert_eq!((event.as_str(), &parameters["amount"]), ("PAY", &json!(5)));
    }
}
