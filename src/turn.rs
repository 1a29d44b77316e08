//! One turn of a conversation in the one form that handlers see, whichever platform sent it.

use serde_json::{Map, Value};

use crate::session::SessionName;

/// The API that a turn speaks, and in which its reply is written. It tells the platform, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// Dialogflow ES, v2.
    EsV2,
    /// Dialogflow ES, v2beta1: v2 and telephony, RBM, hand-off and end of interaction.
    EsV2beta1,
    /// Dialogflow CX, v3.
    CxV3,
}

impl Api {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EsV2 => "ES v2",
            Self::EsV2beta1 => "ES v2beta1",
            Self::CxV3 => "CX v3",
        }
    }
}

/// What the platform understood, and where in the conversation. Text that the platform left out is empty.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Which API sent it.
    pub api: Api,
    /// The conversation.
    pub session: SessionName,
    /// ES `responseId`, CX `detectIntentResponseId`. One id may span several turns (a chain of events, several
    /// fulfillments of one page).
    pub response_id: String,
    /// Display name of the matched intent.
    pub intent: String,
    /// ES: the action of the intent.
    pub action: String,
    /// CX: the fulfillment's tag.
    pub tag: String,
    /// The event that led here: CX `triggerEvent`; ES puts an event's name into the query text.
    pub event: String,
    /// What the user said or typed (CX also: transcript, DTMF digits).
    pub text: String,
    /// BCP 47 tag, as the platform wrote it; `en` where it gave none.
    pub language: String,
    /// Parameters of the intent (ES), or of the session (CX), with those that only the page's form has; those of the
    /// intent count in CX where there are no session parameters at all. An unfilled one is `""` in ES.
    pub parameters: Map<String, Value>,
    /// ES: the contexts that are active now.
    pub contexts: Vec<ActiveContext>,
    /// Confidence of the match, 0 to 1.
    pub confidence: Option<f64>,
    /// Whether the platform says it matched a fallback intent.
    pub is_fallback: bool,
    /// ES: `false` while slot filling still asks for a required parameter; true where the request does not tell.
    pub all_required_params_present: bool,
    /// ES: the user has cancelled slot filling.
    pub cancels_slot_filling: bool,
    /// ES: what the agent says by itself: its prompt for the next parameter, or its static response.
    pub agent_text: String,
    /// How the user feels, where the agent analyses it.
    pub sentiment: Option<Sentiment>,
    /// The integration that the user speaks through (`telegram`, `facebook`, …), where it says so.
    pub source: String,
    /// What the caller of the platform passed along: ES `originalDetectIntentRequest.payload`, CX `payload`.
    pub payload: Map<String, Value>,
    /// CX: the page.
    pub page: Option<Page>,
    /// CX: whether the request shows that messages may have a response type. v3 has it and v3beta1 refuses it; nothing
    /// else tells the two apart.
    pub(crate) takes_response_type: bool,
    /// CX: the session parameters that are kept, and for how long.
    pub(crate) lifespans: Vec<Lifespan>,
}

/// A context that is active at the time of the turn.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveContext {
    /// Its id, lower case.
    pub id: String,
    /// How many more turns it lives; the platform may leave it out.
    pub lifespan: Option<u32>,
    /// What it holds, with the parameters that ES has written into it since it was kept; [`Turn::kept`] is without them.
    pub parameters: Map<String, Value>,
}

/// For how long a session parameter is kept (CX).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lifespan {
    pub(crate) parameter: String,
    /// For how many turns after this one; `None` where it has ended before this one.
    pub(crate) left: Option<u32>,
}

/// Sentiment of the user's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sentiment {
    /// From -1 (negative) to 1 (positive).
    pub score: f64,
    /// Strength, from 0.
    pub magnitude: f64,
}

/// The CX page that a turn is on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Full name.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// The parameters of its form.
    pub form: Vec<FormParameter>,
}

/// One parameter of a CX page's form.
#[derive(Clone, Debug, PartialEq)]
pub struct FormParameter {
    /// Display name.
    pub name: String,
    /// Whether the form needs it.
    pub required: bool,
    /// `EMPTY`, `INVALID` or `FILLED`; empty when not told.
    pub state: String,
    /// Its value; null while empty.
    pub value: Value,
    /// Whether this turn collected it.
    pub just_collected: bool,
}

impl Turn {
    /// The active context with this id, whatever the case of either.
    pub fn context(&self, id: &str) -> Option<&ActiveContext> {
        self.contexts.iter().find(|context| context.id.eq_ignore_ascii_case(id))
    }

    /// ES: whether Dialogflow is still filling the intent's slots, or the user has just cancelled that.
    pub fn fills_slots(&self) -> bool {
        self.cancels_slot_filling || !self.all_required_params_present
    }

    /// The name under which logs and metrics know the turn: its intent, else its tag, action or event; of a long one its
    /// beginning.
    pub fn name(&self) -> &str {
        let names = [&self.intent, &self.tag, &self.action, &self.event];
        let name = names.into_iter().find(|name| !name.is_empty());
        name.map_or("(none)", |name| beginning(name))
    }
}

/// As much of a text from outside as is shown and kept: 200 bytes.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
