//! Dialogflow's rules for a webhook response, written down anew: what this refuses, Dialogflow would.

use serde_json::{Map, Value};

use super::stage::Spoken;

/// Messages and their fields. `s` string, `b` boolean, `i` whole number, `o` object, `v` anything, `A/B` an enum, `[x]`
/// a list, else a message. `!` must be filled, `+` v2beta1 only, `*` one of the oneof.
const ES: &[(&str, &str)] = &[
    (
        "Response",
        "fulfillmentText:s fulfillmentMessages:[Message] source:s payload:o outputContexts:[Context] \
         followupEventInput:Event sessionEntityTypes:[SessionEntity] liveAgentHandoff:b+ endInteraction:b+",
    ),
    ("Context", "name:s! lifespanCount:i! parameters:o"),
    ("Event", "name:s! parameters:o languageCode:s!"),
    (
        "SessionEntity",
        "name:s! entityOverrideMode:ENTITY_OVERRIDE_MODE_OVERRIDE/ENTITY_OVERRIDE_MODE_SUPPLEMENT! entities:[Entity]!",
    ),
    ("Entity", "value:s! synonyms:[s]!"),
    (
        "Message",
        "platform:FACEBOOK/SLACK/TELEGRAM/KIK/SKYPE/LINE/VIBER/ACTIONS_ON_GOOGLE/GOOGLE_HANGOUTS/TELEPHONY \
         text:Text* image:Image* quickReplies:QuickReplies* card:Card* payload:o* simpleResponses:SimpleResponses* \
         basicCard:BasicCard* suggestions:Suggestions* linkOutSuggestion:LinkOut* listSelect:Select* \
         carouselSelect:Carousel* browseCarouselCard:Browse* tableCard:Table* mediaContent:Media* \
         telephonyPlayAudio:PlayAudio*+ telephonySynthesizeSpeech:Speech*+ telephonyTransferCall:Transfer*+ \
         rbmText:RbmText*+ rbmStandaloneRichCard:RbmCard*+ rbmCarouselRichCard:RbmCarousel*+",
    ),
    ("Text", "text:[s]!"),
    ("Image", "imageUri:s accessibilityText:s"),
    ("QuickReplies", "title:s quickReplies:[s]"),
    ("Card", "title:s subtitle:s imageUri:s buttons:[CardButton]"),
    ("CardButton", "text:s postback:s"),
    ("SimpleResponses", "simpleResponses:[SimpleResponse]!"),
    ("SimpleResponse", "textToSpeech:s ssml:s displayText:s"),
    (
        "BasicCard",
        "title:s subtitle:s formattedText:s! image:Image buttons:[LinkButton]",
    ),
    ("LinkButton", "title:s! openUriAction:OpenUri!"),
    ("OpenUri", "uri:s!"),
    ("Suggestions", "suggestions:[Suggestion]!"),
    ("Suggestion", "title:s!"),
    ("LinkOut", "destinationName:s! uri:s!"),
    ("Select", "title:s subtitle:s items:[Item]!"),
    ("Carousel", "items:[Item]!"),
    ("Item", "info:ItemInfo! title:s! description:s image:Image"),
    ("ItemInfo", "key:s! synonyms:[s]"),
    (
        "Browse",
        "items:[BrowseItem]! imageDisplayOptions:GRAY/WHITE/CROPPED/BLURRED_BACKGROUND",
    ),
    (
        "BrowseItem",
        "openUriAction:OpenUrl! title:s! description:s image:Image footer:s",
    ),
    ("OpenUrl", "url:s! urlTypeHint:AMP_ACTION/AMP_CONTENT"),
    (
        "Table",
        "title:s! subtitle:s image:Image columnProperties:[Column] rows:[Row] buttons:[LinkButton]",
    ),
    ("Column", "header:s! horizontalAlignment:LEADING/CENTER/TRAILING"),
    ("Row", "cells:[Cell] dividerAfter:b"),
    ("Cell", "text:s!"),
    ("Media", "mediaType:AUDIO/ mediaObjects:[MediaObject]!"),
    (
        "MediaObject",
        "name:s! description:s contentUrl:s! largeImage:Image* icon:Image*",
    ),
    ("PlayAudio", "audioUri:s!"),
    ("Speech", "text:s* ssml:s*"),
    ("Transfer", "phoneNumber:s!"),
    ("RbmText", "text:s! rbmSuggestion:[RbmSuggestion]"),
    ("RbmSuggestion", "reply:RbmReply* action:RbmAction*"),
    ("RbmReply", "text:s postbackData:s"),
    (
        "RbmAction",
        "text:s postbackData:s dial:Transfer* openUrl:OpenUri* shareLocation:Nothing*",
    ),
    ("Nothing", ""),
    (
        "RbmCard",
        "cardOrientation:HORIZONTAL/VERTICAL! thumbnailImageAlignment:LEFT/RIGHT! cardContent:RbmContent!",
    ),
    ("RbmCarousel", "cardWidth:SMALL/MEDIUM! cardContents:[RbmContent]!"),
    (
        "RbmContent",
        "title:s description:s media:RbmMedia suggestions:[RbmSuggestion]",
    ),
    ("RbmMedia", "fileUri:s! thumbnailUri:s height:SHORT/MEDIUM/TALL!"),
];

const CX: &[(&str, &str)] = &[
    (
        "Response",
        "fulfillmentResponse:Fulfillment pageInfo:Page sessionInfo:Session payload:o targetPage:s* targetFlow:s*",
    ),
    ("Fulfillment", "messages:[Message] mergeBehavior:APPEND/REPLACE"),
    ("Page", "formInfo:Form"),
    ("Form", "parameterInfo:[Parameter]"),
    (
        "Parameter",
        "displayName:s! required:b state:EMPTY/INVALID/FILLED! value:v",
    ),
    ("Session", "parameters:o"),
    (
        "Message",
        "text:Text* payload:o* conversationSuccess:Metadata* outputAudioText:Speech* liveAgentHandoff:Metadata* \
         playAudio:PlayAudio* telephonyTransferCall:Transfer* knowledgeInfoCard:Nothing* toolCall:ToolCall* \
         responseType:ENTRY_PROMPT/PARAMETER_PROMPT/HANDLER_PROMPT channel:s",
    ),
    ("Text", "text:[s]!"),
    ("Metadata", "metadata:o"),
    ("Speech", "text:s* ssml:s*"),
    ("PlayAudio", "audioUri:s!"),
    ("Transfer", "phoneNumber:s!"),
    ("Nothing", ""),
    ("ToolCall", "tool:s! action:s! inputParameters:o"),
];

/// What Dialogflow would refuse in `reply`, whose bytes are `body`; and an answer that is silence.
pub(crate) fn faults(api: Spoken, body: &[u8], reply: &Value) -> Vec<String> {
    let mut checker = Checker {
        api,
        faults: Vec::new(),
    };
    checker.check("Response", reply, "");
    if body.len() > 65_536 {
        checker.fault("", format_args!("{} bytes", body.len()));
    }
    if nesting(reply) > 32 {
        checker.fault("", format_args!("{} levels deep", nesting(reply)));
    }
    if reply.as_object().is_none_or(Map::is_empty) {
        checker.fault("", "it is silent");
    }
    for context in items(&reply["outputContexts"]) {
        let name = context["name"].as_str().unwrap_or_default();
        let id = name.rsplit_once("/contexts/").map_or("", |(_, id)| id);
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-%".contains(&byte);
        let session = name.starts_with("projects/") && name.contains("/agent/") && name.contains("/sessions/");
        if !session || id.is_empty() || id.len() > 250 || !id.bytes().all(legal) {
            checker.fault("outputContexts", name);
        }
        if context["lifespanCount"]
            .as_i64()
            .is_none_or(|count| !(0..=2_147_483_647).contains(&count))
        {
            checker.fault("lifespanCount", &context["lifespanCount"]);
        }
    }
    for entity in items(&reply["sessionEntityTypes"]) {
        let name = entity["name"].as_str().unwrap_or_default();
        if name
            .rsplit_once("/entityTypes/")
            .is_none_or(|(_, id)| id.is_empty() || id.contains('/'))
        {
            checker.fault("sessionEntityTypes", name);
        }
    }
    for (field, steps) in [("targetPage", 10), ("targetFlow", 8)] {
        if let Some(target) = reply[field].as_str()
            && (target.split('/').count() != steps || target.split('/').any(str::is_empty))
        {
            checker.fault(field, target);
        }
    }
    checker.faults
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(nesting).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

struct Checker {
    api: Spoken,
    faults: Vec<String>,
}

impl Checker {
    fn fault(&mut self, at: &str, what: impl std::fmt::Display) {
        self.faults.push(format!("{at}: {what}"));
    }

    fn check(&mut self, kind: &str, value: &Value, at: &str) {
        let right = match kind {
            "s" => value.is_string(),
            "b" => value.is_boolean(),
            "i" => value.is_i64(),
            "o" => value.is_object(),
            "v" => true,
            _ if kind.contains('/') => value.as_str().is_some_and(|name| {
                let telephony = name == "TELEPHONY" && self.api == Spoken::V2;
                kind.split('/').any(|one| one == name) && !telephony
            }),
            _ if kind.starts_with('[') => {
                let inner = kind.trim_matches(['[', ']']);
                for (index, item) in items(value).iter().enumerate() {
                    self.check(inner, item, &format!("{at}[{index}]"));
                }
                value.is_array()
            }
            _ => {
                self.message(kind, value, at);
                value.is_object()
            }
        };
        if !right {
            self.fault(at, format_args!("{value} is no {kind}"));
        }
    }

    fn message(&mut self, kind: &str, value: &Value, at: &str) {
        let messages = if self.api == Spoken::V3 { CX } else { ES };
        let (_, fields) = messages.iter().find(|(name, _)| *name == kind).unwrap();
        let Some(found) = value.as_object() else { return };
        let (mut known, mut chosen) = (0, 0);
        for field in fields.split_whitespace() {
            let (name, kind) = field.split_once(':').unwrap();
            let marks = kind.trim_start_matches(|mark| !"!+*".contains(mark));
            let kind = kind.trim_end_matches(['!', '+', '*']);
            let Some(value) = found.get(name) else {
                if marks.contains('!') {
                    self.fault(at, format_args!("{name} is missing"));
                }
                continue;
            };
            known += 1;
            chosen += usize::from(marks.contains('*'));
            if marks.contains('+') && self.api != Spoken::V2beta1 {
                self.fault(at, format_args!("{name} is of v2beta1 only"));
            }
            if marks.contains('!') && (value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty)) {
                self.fault(at, format_args!("{name} is empty"));
            }
            self.check(kind, value, &format!("{at}.{name}"));
        }
        if known != found.len() {
            self.fault(at, format_args!("an unknown field in {value}"));
        }
        if chosen > 1 || (kind == "Message" && chosen == 0) {
            self.fault(at, format_args!("{chosen} of one in {value}"));
        }
    }
}
