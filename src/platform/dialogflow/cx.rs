//! Dialogflow CX v3: WebhookRequest to [`Turn`], [`Answer`] to WebhookResponse.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::field::{self, Fields};
use super::{es, kept, lifespan, limit, message, name, session, unsaid};
use crate::lang::Lang;
use crate::platform::not_a_turn::NotATurn;
use crate::reply::message::{Message, Platform};
use crate::reply::{Answer, FollowUp, KeptContext, Merge, Reply, Target};
use crate::session::SessionName;
use crate::turn::{Api, FormParameter, Lifespan, Page, Turn};

/// The page that ends a CX session, in every flow.
const END_SESSION: &str = "END_SESSION";

/// The longest name of a page or a flow that is sent back, in bytes.
const MAX_TARGET: usize = 1024;

pub(super) fn is_cx(root: &Map<String, Value>) -> bool {
    [
        "fulfillmentInfo",
        "detectIntentResponseId",
        "sessionInfo",
        "pageInfo",
        "intentInfo",
    ]
    .iter()
    .any(|name| field::value_of(root, name).is_some())
}

pub(super) fn decode(root: Map<String, Value>) -> Result<Turn, NotATurn> {
    let mut root = Fields::root(root);
    let mut session_info = root.message("sessionInfo")?;
    let session = session(&mut session_info, &mut root)?;
    let mut intent = root.message("intentInfo")?;
    let page = page(&mut root)?;
    let session_parameters = session_info.object("parameters")?;
    let intent_parameters = intent.object("parameters")?;
    let mut parameters = parameters(session_parameters, page.as_ref(), intent_parameters);
    let response_id = root.text("detectIntentResponseId")?;
    let lifespans = lifespan::count_down(&mut parameters, &response_id);
    let mut language_info = root.message("languageInfo")?;
    let language = first_of(vec![
        root.text("languageCode")?,
        language_info.text("resolvedLanguageCode")?,
        "en".to_owned(),
    ]);
    let event = root.text("triggerEvent")?;
    let text = first_of(vec![
        root.text("text")?,
        root.text("transcript")?,
        root.text("dtmfDigits")?,
    ]);
    let payload = root.object("payload")?;
    let takes_response_type = root
        .messages("messages")?
        .iter()
        .any(|message| message.has("responseType"));
    Ok(Turn {
        api: Api::CxV3,
        session,
        response_id,
        intent: intent.text("displayName")?,
        action: String::new(),
        tag: root.message("fulfillmentInfo")?.text("tag")?,
        event,
        text,
        language,
        parameters,
        contexts: Vec::new(),
        confidence: intent.number("confidence")?,
        is_fallback: false,
        all_required_params_present: true,
        cancels_slot_filling: false,
        agent_text: String::new(),
        sentiment: root
            .optional("sentimentAnalysisResult")?
            .map(es::sentiment)
            .transpose()?,
        source: payload
            .get("source")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        payload,
        page,
        takes_response_type,
        lifespans,
    })
}

/// The parameters that count now.
///
/// The session holds what forms and intents have collected, and what the fulfillments of this turn have set and deleted
/// since: it is the newest. The form fills in what it lacks; a parameter of the intent that it lacks has been deleted,
/// unless the caller keeps no session parameters at all.
fn parameters(session: Map<String, Value>, page: Option<&Page>, intent: Map<String, Value>) -> Map<String, Value> {
    let is_kept = !session.is_empty();
    let mut parameters = session;
    let mut fill_in = |name: &str, value: Value| {
        // The case of a name does not count in CX.
        if !value.is_null() && parameters.keys().all(|known| !known.eq_ignore_ascii_case(name)) {
            parameters.insert(name.to_owned(), value);
        }
    };
    for parameter in page.iter().flat_map(|page| &page.form) {
        fill_in(&parameter.name, parameter.value.clone());
    }
    if !is_kept {
        for (name, value) in intent {
            // `{originalValue, resolvedValue}`; the resolved one is what a session parameter would hold.
            if let Value::Object(mut both) = value {
                let resolved = both.remove("resolvedValue").or_else(|| both.remove("resolved_value"));
                fill_in(&name, resolved.unwrap_or_default());
            }
        }
    }
    parameters
}

fn first_of(texts: Vec<String>) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The session of `sessionInfo`; relays have been seen to put it at the root.
fn session(session_info: &mut Fields, root: &mut Fields) -> Result<SessionName, NotATurn> {
    const EXPECTED: &str = "the session's full name, projects/…/locations/…/agents/…/sessions/…";
    let name = first_of(vec![session_info.text("session")?, root.text("session")?]);
    if name.is_empty() {
        return Err(field::missing("sessionInfo.session", EXPECTED));
    }
    session::read(&name).map_err(|_| field::wrong("sessionInfo.session", &Value::String(name), EXPECTED))
}

fn page(root: &mut Fields) -> Result<Option<Page>, NotATurn> {
    let Some(mut info) = root.optional("pageInfo")? else {
        return Ok(None);
    };
    let mut form = Vec::new();
    for mut parameter in info
        .message("pageInfo.formInfo")?
        .messages("pageInfo.formInfo.parameterInfo")?
    {
        form.push(FormParameter {
            name: parameter.text("displayName")?,
            required: parameter.flag("required")?.unwrap_or(false),
            state: state_name(parameter.symbol("state")?),
            value: parameter.value("value").unwrap_or(Value::Null),
            just_collected: parameter.flag("justCollected")?.unwrap_or(false),
        });
    }
    Ok(Some(Page {
        name: info.text("currentPage")?,
        display_name: info.text("displayName")?,
        form,
    }))
}

/// The state's name, also where it came as its number.
fn state_name(state: String) -> String {
    match state.as_str() {
        "0" | "PARAMETER_STATE_UNSPECIFIED" => String::new(),
        "1" => "EMPTY".to_owned(),
        "2" => "INVALID".to_owned(),
        "3" => "FILLED".to_owned(),
        _ => state,
    }
}

/// A WebhookResponse.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct CxResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fulfillment_response: Option<FulfillmentResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_info: Option<SessionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_flow: Option<String>,
}

impl CxResponse<'_> {
    fn messages(&mut self) -> &mut Vec<Value> {
        &mut self
            .fulfillment_response
            .get_or_insert_with(FulfillmentResponse::default)
            .messages
    }

    fn is_silent(&self) -> bool {
        self.fulfillment_response
            .as_ref()
            .is_none_or(|said| said.messages.is_empty())
            && self.payload.is_none()
            && self.target_page.is_none()
            && self.target_flow.is_none()
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FulfillmentResponse {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merge_behavior: Option<&'static str>,
}

#[derive(Serialize)]
struct SessionInfo {
    parameters: Map<String, Value>,
}

pub(super) fn encode(turn: &Turn, answer: &Answer) -> Bytes {
    let mut response = match answer {
        Answer::Reply(reply) => say(turn, reply),
        Answer::FollowUp(follow_up) => follow(turn, follow_up),
    };
    limit::fit(|cut| {
        shorten(turn, &mut response, cut);
        serde_json::to_vec(&response).unwrap_or_default()
    })
}

/// Gives up the least of the reply that is still in it; the text, a hand-off and the target come last.
fn shorten(turn: &Turn, response: &mut CxResponse<'_>, cut: limit::Cut) {
    match cut {
        limit::Cut::Nothing | limit::Cut::Entities => {}
        limit::Cut::Payload => response.payload = None,
        limit::Cut::Rich => response.messages().retain_mut(|message| {
            if message.get("liveAgentHandoff").is_some() {
                *message = json!({"liveAgentHandoff": {}});
                return true;
            }
            message.get("text").is_some()
        }),
        limit::Cut::Contexts => response.session_info = None,
        limit::Cut::Text(bytes) => {
            response.page_info = None;
            let messages = response.messages();
            let texts: Vec<&str> = messages
                .iter()
                .filter_map(|message| message["text"]["text"][0].as_str())
                .collect();
            let mut text = texts.join("\n");
            limit::cut_text(&mut text, bytes);
            messages.retain(|message| message.get("text").is_none());
            if !text.is_empty() {
                messages.insert(0, json!({"text": {"text": [text]}}));
            }
        }
    }
    if response.is_silent() {
        response.fulfillment_response = Some(text_only(&super::instead_of_silence(turn)));
    }
}

fn text_only(text: &str) -> FulfillmentResponse {
    FulfillmentResponse {
        messages: vec![json!({"text": {"text": [text]}})],
        merge_behavior: None,
    }
}

fn say<'a>(turn: &Turn, reply: &'a Reply) -> CxResponse<'a> {
    let lang = Lang::new(turn.language.as_str());
    unsaid::parts(turn, reply);
    let response_type = reply.response_type.filter(|_| turn.takes_response_type);
    let is_said_to_all =
        |(platform, message): &(Platform, Message)| *platform == Platform::Any && message.plain_text().is_some();
    let is_said_to_all = reply.messages.iter().any(is_said_to_all);
    let mut messages = Vec::with_capacity(reply.messages.len());
    for (platform, message) in &reply.messages {
        let mut written = match message::cx(message).filter(|wire| message::is_complete(message, wire)) {
            Some(written) => written,
            // Words for one channel only would be said beside those for all.
            None => match message
                .stand_in(&lang)
                .filter(|_| *platform == Platform::Any || !is_said_to_all)
            {
                Some(words) => json!({"text": {"text": [words]}}),
                None => {
                    unsaid::tell(turn, message.kind());
                    continue;
                }
            },
        };
        if let Some(channel) = name::platform(*platform) {
            written["channel"] = Value::from(channel);
        }
        if let Some(kind) = response_type {
            written["responseType"] = Value::from(name::response_type(kind));
        }
        messages.push(written);
    }
    if let Some(metadata) = &reply.hand_off {
        messages.push(json!({"liveAgentHandoff": {"metadata": metadata}}));
    }
    let target = target(turn, reply);
    let payload = reply.payload.as_ref().filter(|payload| !payload.is_empty());
    if messages.is_empty() && payload.is_none() && target.is_none() {
        messages.push(json!({"text": {"text": [super::last_words(turn, reply)]}}));
    }
    let (target_page, target_flow) = page_or_flow(target);
    CxResponse {
        fulfillment_response: (!messages.is_empty()).then_some(FulfillmentResponse {
            messages,
            merge_behavior: match reply.merge {
                Merge::Append => None,
                Merge::Replace => Some("REPLACE"),
            },
        }),
        page_info: form(reply),
        session_info: session_info(turn, &reply.session_parameters, &reply.contexts),
        payload,
        target_page,
        target_flow,
    }
}

/// CX takes no event from a webhook: the conversation goes to the page that the handler names for it.
fn follow<'a>(turn: &Turn, follow_up: &FollowUp) -> CxResponse<'a> {
    let target = follow_up.target.as_ref().and_then(checked);
    let is_lost = target.is_none();
    let (target_page, target_flow) = page_or_flow(target);
    if is_lost {
        unsaid::tell(
            turn,
            "the follow-up event (in CX it needs a page or flow: FollowUp::or_go_to)",
        );
    }
    CxResponse {
        fulfillment_response: is_lost.then(|| text_only(&super::instead_of_silence(turn))),
        session_info: session_info(turn, &follow_up.parameters, &follow_up.contexts),
        target_page,
        target_flow,
        ..CxResponse::default()
    }
}

fn page_or_flow(target: Option<Target>) -> (Option<String>, Option<String>) {
    match target {
        Some(Target::Page(page)) => (Some(page), None),
        Some(Target::Flow(flow)) => (None, Some(flow)),
        None => (None, None),
    }
}

/// Where the conversation goes next: the reply's target, or the end of the session.
fn target(turn: &Turn, reply: &Reply) -> Option<Target> {
    let target = reply.target.as_ref().and_then(checked);
    if target.is_some() || !reply.ends {
        return target;
    }
    let page = turn.page.as_ref().map(|page| page.name.as_str()).unwrap_or_default();
    let end = page
        .rsplit_once("/pages/")
        .map(|(flow, _)| Target::Page(format!("{flow}/pages/{END_SESSION}")));
    if end.is_none() {
        warn!("end of interaction left out: the request names no page, and the end of a session is one");
    }
    end.filter(is_target)
}

/// The target, where it is one that CX takes.
fn checked(target: &Target) -> Option<Target> {
    if is_target(target) {
        return Some(target.clone());
    }
    warn!(
        ?target,
        "target left out: expected projects/…/locations/…/agents/…/flows/…[/pages/…], at most {MAX_TARGET} bytes"
    );
    None
}

fn is_target(target: &Target) -> bool {
    let (name, tail) = match target {
        Target::Page(name) => (name, 2),
        Target::Flow(name) => (name, 0),
    };
    let parts: Vec<&str> = name.split('/').collect();
    let labels = ["projects", "locations", "agents", "flows", "pages"];
    name.len() <= MAX_TARGET
        && parts.len() == 8 + tail
        && parts.iter().all(|part| !part.is_empty())
        && parts.iter().step_by(2).zip(labels).all(|(part, label)| *part == label)
}

fn form(reply: &Reply) -> Option<Value> {
    let parameters: Vec<Value> = reply
        .form
        .iter()
        .filter(|parameter| !parameter.name.trim().is_empty())
        .map(|parameter| {
            let mut info = json!({"displayName": parameter.name, "state": name::form_state(parameter.state)});
            if let Some(required) = parameter.required {
                info["required"] = Value::from(required);
            }
            if let Some(value) = &parameter.value {
                info["value"] = value.clone();
            }
            info
        })
        .collect();
    (!parameters.is_empty()).then(|| json!({"formInfo": {"parameterInfo": parameters}}))
}

/// Session parameters: those that are set, and the contexts, which in CX are parameters that hold an object. What was kept
/// before is written again, as its lifespan is a turn shorter now.
fn session_info(turn: &Turn, set: &Map<String, Value>, contexts: &[KeptContext]) -> Option<SessionInfo> {
    let mut parameters = Map::new();
    let mut put = |name: &str, value: Value| {
        // The case of a name does not count in CX.
        parameters.retain(|known, _| !known.eq_ignore_ascii_case(name));
        parameters.insert(name.to_owned(), value);
    };
    let kept = |kept: &Map<String, Value>, lifespan| lifespan::write(kept, lifespan, &turn.response_id);
    for Lifespan { parameter, left } in &turn.lifespans {
        let object = turn.parameters.get(parameter).and_then(Value::as_object);
        let left = object.zip(*left).map(|(object, left)| kept(object, left));
        put(parameter, left.unwrap_or_default());
    }
    for (name, value) in set.iter().filter(|(name, _)| !name.trim().is_empty()) {
        put(name, value.clone());
    }
    for context in contexts {
        let value = match context.lifespan {
            0 => Value::Null,
            lifespan => kept(&context.parameters, lifespan),
        };
        put(&kept::parameter(context.id.as_str()), value);
    }
    (!parameters.is_empty()).then_some(SessionInfo { parameters })
}
