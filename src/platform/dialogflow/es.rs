//! Dialogflow ES, v2 and v2beta1: WebhookRequest to [`Turn`], [`Answer`] to WebhookResponse.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::field::{self, Fields};
use super::kept::KEPT;
use super::settings::EsApi;
use super::{limit, message, name, session, unsaid};
use crate::lang::Lang;
use crate::platform::not_a_turn::NotATurn;
use crate::reply::message::{Message, Platform};
use crate::reply::{Answer, FollowUp, KeptContext, Reply, SessionEntity};
use crate::session::SessionName;
use crate::turn::{ActiveContext, Api, Sentiment, Turn};

/// The longest language tag that is sent back, in bytes; RFC 5646 asks for room for 35.
const MAX_LANGUAGE: usize = 35;

/// The source of a turn that came through Dialogflow's phone gateway, which only v2beta1 has.
const TELEPHONE: &str = "GOOGLE_TELEPHONY";

/// How the ids of the contexts end in which the platform keeps what it has of an intent's slots.
const DIALOG: &str = "_dialog_context";

pub(super) fn is_es(root: &Map<String, Value>) -> bool {
    field::value_of(root, "queryResult").is_some()
}

pub(super) fn decode(root: Map<String, Value>, es_api: EsApi) -> Result<Turn, NotATurn> {
    let mut root = Fields::root(root);
    let session = session(&mut root)?;
    let response_id = root.text("responseId")?;
    let mut origin = root.message("originalDetectIntentRequest")?;
    let payload = origin.object("payload")?;
    let source = match origin.text("source")? {
        source if source.is_empty() => payload
            .get("source")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        source => source,
    };
    let mut query = root.message("queryResult")?;
    let mut intent = query.message("queryResult.intent")?;
    let mut messages = query.messages("queryResult.fulfillmentMessages")?;
    let beta = root.has("alternativeQueryResults")
        || query.has("knowledgeAnswers")
        || intent.has("mlEnabled")
        || source.eq_ignore_ascii_case(TELEPHONE)
        || messages.iter_mut().any(is_beta_message);
    let mut contexts = Vec::new();
    for mut context in query.messages("queryResult.outputContexts")? {
        let name = context.text("name")?;
        let lifespan = context.number("lifespanCount")?.map(|count| count as u32);
        let parameters = context.object("parameters")?;
        // A context of another session is none of this one's.
        if let Some((of, id)) = name.rsplit_once("/contexts/")
            && of.rsplit('/').next() == Some(session.id())
        {
            contexts.push(ActiveContext {
                id: id.to_lowercase(),
                lifespan,
                parameters,
            });
        }
    }
    let analysis = query
        .message("queryResult.sentimentAnalysisResult")?
        .optional("queryResult.sentimentAnalysisResult.queryTextSentiment")?;
    let sentiment = analysis.map(sentiment).transpose()?;
    let language = query.text("languageCode")?;
    let all_required_params_present = query
        .flag("allRequiredParamsPresent")?
        .unwrap_or_else(|| !is_in_dialog(&contexts, intent.value("name")));
    Ok(Turn {
        api: match es_api {
            EsApi::V2 => Api::EsV2,
            EsApi::V2beta1 => Api::EsV2beta1,
            EsApi::Auto if beta => Api::EsV2beta1,
            EsApi::Auto => Api::EsV2,
        },
        session,
        response_id,
        intent: intent.text("displayName")?,
        is_fallback: intent.flag("isFallback")?.unwrap_or(false),
        action: query.text("action")?,
        tag: String::new(),
        event: String::new(),
        text: query.text("queryText")?,
        language: if language.is_empty() { "en".to_owned() } else { language },
        parameters: query.object("parameters")?,
        contexts,
        confidence: query.number("intentDetectionConfidence")?,
        all_required_params_present,
        cancels_slot_filling: query.flag("cancelsSlotFilling")?.unwrap_or(false),
        agent_text: match query.value("fulfillmentText") {
            Some(Value::String(text)) => text,
            Some(_) | None => String::new(),
        },
        sentiment,
        source,
        payload,
        page: None,
        takes_response_type: false,
        lifespans: Vec::new(),
    })
}

/// Whether the platform is filling the slots of the intent of this full name. Its JSON leaves `false` out, so a real
/// request does not say so in `allRequiredParamsPresent`; but it then holds this context, which only the platform makes.
fn is_in_dialog(contexts: &[ActiveContext], intent: Option<Value>) -> bool {
    let intent = intent.as_ref().and_then(Value::as_str).unwrap_or_default();
    let id = intent.rsplit('/').next().unwrap_or_default().to_lowercase();
    let dialog = format!("{id}_id{DIALOG}");
    contexts
        .iter()
        .any(|context| context.id == dialog && context.lifespan != Some(0))
}

/// Whether a message is one that only v2beta1 has, or for a platform that only v2beta1 has.
fn is_beta_message(message: &mut Fields) -> bool {
    const KINDS: [&str; 6] = [
        "telephonyPlayAudio",
        "telephonySynthesizeSpeech",
        "telephonyTransferCall",
        "rbmText",
        "rbmStandaloneRichCard",
        "rbmCarouselRichCard",
    ];
    let is_telephone = match message.value("platform") {
        Some(Value::String(name)) => name == "TELEPHONY",
        Some(number) => number.as_f64() == Some(10.0),
        None => false,
    };
    is_telephone || KINDS.iter().any(|kind| message.has(kind))
}

fn session(root: &mut Fields) -> Result<SessionName, NotATurn> {
    const EXPECTED: &str = "the session's full name, projects/…/agent/sessions/…";
    let name = root.text("session")?;
    if name.is_empty() {
        return Err(field::missing("session", EXPECTED));
    }
    session::read(&name).map_err(|_| field::wrong("session", &Value::String(name), EXPECTED))
}

/// An analysis, in which proto3 leaves out a figure that is zero: an empty one is neutral.
pub(super) fn sentiment(mut analysis: Fields) -> Result<Sentiment, NotATurn> {
    Ok(Sentiment {
        score: analysis.number("score")?.unwrap_or(0.0),
        magnitude: analysis.number("magnitude")?.unwrap_or(0.0),
    })
}

/// A WebhookResponse; both ES versions, `endInteraction` and `liveAgentHandoff` only in v2beta1.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct EsResponse<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    fulfillment_text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fulfillment_messages: Vec<Written<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    output_contexts: Vec<OutputContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    followup_event_input: Option<EventInput<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    session_entity_types: Vec<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    live_agent_handoff: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    end_interaction: bool,
}

impl EsResponse<'_> {
    fn is_silent(&self) -> bool {
        self.fulfillment_text.is_empty()
            && self.fulfillment_messages.is_empty()
            && self.payload.is_none()
            && self.followup_event_input.is_none()
    }
}

/// A message; plain text, the usual one, is written as it stands in the reply.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Text { text: Variants<'a> },
    Rich(Value),
}

#[derive(Serialize)]
struct Variants<'a> {
    text: &'a [String],
}

impl Written<'_> {
    fn is_text(&self) -> bool {
        match self {
            Self::Text { .. } => true,
            Self::Rich(value) => value.get("text").is_some(),
        }
    }
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputContext {
    name: String,
    /// Always written: without it the context would end at once.
    lifespan_count: u32,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventInput<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: &'a Map<String, Value>,
    /// Required by the API, and ignored by it.
    language_code: &'a str,
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

/// Gives up the least of the reply that is still in it; the text comes last.
fn shorten(turn: &Turn, response: &mut EsResponse<'_>, cut: limit::Cut) {
    match cut {
        limit::Cut::Nothing => {}
        limit::Cut::Payload => response.payload = None,
        limit::Cut::Rich => response.fulfillment_messages.retain(Written::is_text),
        limit::Cut::Entities => response.session_entity_types.clear(),
        limit::Cut::Contexts => {
            response.output_contexts.clear();
            response.source = "";
            if let Some(event) = &mut response.followup_event_input {
                event.parameters = limit::empty();
            }
        }
        limit::Cut::Text(bytes) => {
            response.fulfillment_messages.clear();
            limit::cut_text(&mut response.fulfillment_text, bytes);
        }
    }
    if response.is_silent() {
        response.fulfillment_text = super::instead_of_silence(turn);
    }
}

fn follow<'a>(turn: &'a Turn, follow_up: &'a FollowUp) -> EsResponse<'a> {
    EsResponse {
        followup_event_input: Some(EventInput {
            name: &follow_up.event,
            parameters: &follow_up.parameters,
            language_code: match turn.language.as_str() {
                tag if tag.len() <= MAX_LANGUAGE => tag,
                _ => "en",
            },
        }),
        output_contexts: contexts(turn, &follow_up.contexts),
        ..EsResponse::default()
    }
}

fn say<'a>(turn: &'a Turn, reply: &'a Reply) -> EsResponse<'a> {
    let beta = turn.api == Api::EsV2beta1;
    let lang = Lang::new(turn.language.as_str());
    unsaid::parts(turn, reply);
    let mut messages = Vec::with_capacity(reply.messages.len());
    for (platform, message) in &reply.messages {
        match encode_message(*platform, message, beta, &lang) {
            Some(value) => messages.push(value),
            None => unsaid::tell(turn, message.kind()),
        }
    }
    let payload = reply.payload.as_ref().filter(|payload| !payload.is_empty());
    let mut text = reply.plain_text();
    let is_said_by_the_payload = messages.is_empty() && payload.is_some();
    if text.is_empty() && !is_said_by_the_payload && messages.iter().all(Written::is_text) {
        text = super::last_words(turn, reply);
        if messages.is_empty() {
            messages.push(Written::Rich(json!({"text": {"text": [text]}})));
        }
    }
    EsResponse {
        fulfillment_text: text,
        fulfillment_messages: messages,
        source: reply.source.as_deref().unwrap_or_default(),
        payload,
        output_contexts: [contexts(turn, &reply.contexts), filled(turn, &reply.slots)].concat(),
        followup_event_input: None,
        session_entity_types: reply
            .entities
            .iter()
            .filter_map(|entity| session_entity(turn, entity))
            .collect(),
        live_agent_handoff: beta && reply.hand_off.is_some(),
        end_interaction: beta && reply.ends,
    }
}

/// The message as v2 or v2beta1 writes it, or as text where that version lacks it; `None` when it has no text.
fn encode_message<'a>(platform: Platform, message: &'a Message, beta: bool, lang: &Lang) -> Option<Written<'a>> {
    if let (Platform::Any, Message::Text(variants)) = (platform, message)
        && !variants.is_empty()
        && variants.iter().all(|text| !text.trim().is_empty())
    {
        return Some(Written::Text {
            text: Variants { text: variants },
        });
    }
    if platform == Platform::Telephony && !beta {
        // No such platform in v2; on any other, words made for the telephone would be said twice.
        return None;
    }
    let mut value = match message::es(message, beta).filter(|wire| message::is_complete(message, wire)) {
        Some(value) => value,
        None => json!({"text": {"text": [message.stand_in(lang)?]}}),
    };
    if let (Some(platform), Some(fields)) = (name::platform(platform), value.as_object_mut()) {
        fields.insert("platform".to_owned(), Value::from(platform));
    }
    Some(Written::Rich(value))
}

fn contexts(turn: &Turn, kept: &[KeptContext]) -> Vec<OutputContext> {
    let full_name = |context: &KeptContext| format!("{}/contexts/{}", turn.session, context.id.as_str());
    kept.iter()
        .map(|context| OutputContext {
            name: full_name(context),
            lifespan_count: context.lifespan.min(i32::MAX as u32),
            parameters: twice(&context.parameters),
        })
        .collect()
}

/// What is kept in a context, flat, for the agent to say (`#order.order_number`), and once more under a key that the
/// platform leaves alone.
fn twice(kept: &Map<String, Value>) -> Map<String, Value> {
    let mut written = kept.clone();
    // A handler may have taken it over from a context of before.
    written.remove(KEPT);
    if !written.is_empty() {
        written.insert(KEPT.to_owned(), Value::Object(written.clone()));
    }
    written
}

/// The contexts of the dialog, as they came, with these slots in them.
fn filled(turn: &Turn, slots: &Map<String, Value>) -> Vec<OutputContext> {
    if slots.is_empty() {
        return Vec::new();
    }
    let dialog = turn.contexts.iter().filter(|context| context.id.ends_with(DIALOG));
    let filled: Vec<_> = dialog
        .map(|context| {
            let mut parameters = context.parameters.clone();
            parameters.extend(slots.clone());
            OutputContext {
                name: format!("{}/contexts/{}", turn.session, context.id),
                lifespan_count: context.lifespan.unwrap_or(1),
                parameters,
            }
        })
        .collect();
    if filled.is_empty() {
        warn!(
            intent.name = turn.name(),
            "slots left out: Dialogflow is not filling any in this turn"
        );
    }
    filled
}

fn session_entity(turn: &Turn, entity: &SessionEntity) -> Option<Value> {
    let entries: Vec<Value> = entity
        .entries
        .iter()
        .filter(|(value, _)| !value.trim().is_empty())
        .map(|(value, synonyms)| {
            let mut synonyms: Vec<&String> = synonyms.iter().filter(|word| !word.trim().is_empty()).collect();
            if synonyms.is_empty() {
                synonyms.push(value);
            }
            json!({"value": value, "synonyms": synonyms})
        })
        .collect();
    if entries.is_empty() || entity.name.is_empty() || entity.name.contains('/') {
        warn!(
            entity.name,
            "session entity left out: it needs a display name and at least one value"
        );
        return None;
    }
    Some(json!({
        "name": format!("{}/entityTypes/{}", turn.session, entity.name),
        "entityOverrideMode": if entity.replaces { "ENTITY_OVERRIDE_MODE_OVERRIDE" } else { "ENTITY_OVERRIDE_MODE_SUPPLEMENT" },
        "entities": entries,
    }))
}
