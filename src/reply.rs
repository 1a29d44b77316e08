//! What a handler returns: a reply, or a follow-up event, as plain values.

mod follow_up;
pub mod message;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::follow_up::FollowUp;
pub use self::message::{Message, Platform};
use crate::session::{ContextId, is_context_id};

/// Something to keep in the conversation for later turns, read back by [`Context<T>`](crate::handler::Context).
///
/// In ES it is an output context, in CX a session parameter that holds an object. ES writes the parameters of each turn
/// into every active context; what is kept is out of its reach: it is written flat, for the agent to say
/// (`#order.order_number`), and once more under the key `rejoinder`, from which it is read.
pub trait Kept: Serialize + DeserializeOwned {
    /// Id of the context: `a-z 0-9 _ - %`, at most 250 bytes; written in lower case. A name that Dialogflow would
    /// refuse does not compile.
    const CONTEXT: &'static str;
    /// For how many turns it lives, this one not counted. ES also ends it after 20 minutes without a match; in CX the turns
    /// count that come here, and it ends with the session at the latest.
    const LIFESPAN: u32 = 5;
}

/// What the user gets: at least one message, and what else happens in the conversation.
///
/// There is no empty one: a turn cannot be left without an answer.
///
/// ```
/// use rejoinder::reply::message::QuickReplies;
/// use rejoinder::{Message, Reply};
///
/// let reply = Reply::text("Shall I book it?").and(Message::QuickReplies(QuickReplies {
///     title: String::new(),
///     quick_replies: vec!["Yes".to_owned(), "No".to_owned()],
/// }));
/// assert!(reply.plain_text().starts_with("Shall I book it?"));
/// ```
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) messages: Vec<(Platform, Message)>,
    pub(crate) source: Option<String>,
    pub(crate) payload: Option<Map<String, Value>>,
    pub(crate) contexts: Vec<KeptContext>,
    pub(crate) entities: Vec<SessionEntity>,
    pub(crate) ends: bool,
    pub(crate) hand_off: Option<Map<String, Value>>,
    pub(crate) session_parameters: Map<String, Value>,
    /// ES: parameters that Dialogflow is filling.
    pub(crate) slots: Map<String, Value>,
    pub(crate) form: Vec<FormReply>,
    pub(crate) target: Option<Target>,
    pub(crate) merge: Merge,
    pub(crate) response_type: Option<ResponseType>,
    /// Why the reply cannot be sent as the author meant it.
    pub(crate) broken: Option<String>,
}

/// What a handler answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Something to say.
    Reply(Box<Reply>),
    /// Another intent to go to.
    FollowUp(FollowUp),
}

/// Values for an entity of the agent, in this session only (ES). The entity must exist in the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionEntity {
    /// The entity's display name, without `@`.
    pub name: String,
    /// Whether the values replace those of the agent, or add to them.
    pub replaces: bool,
    /// Values, each with its synonyms; none means the value alone.
    pub entries: Vec<(String, Vec<String>)>,
}

/// A change to a parameter of the current page's form (CX).
#[derive(Clone, Debug, PartialEq)]
pub struct FormReply {
    /// The parameter's display name; the form must have it.
    pub name: String,
    /// Its state; `Invalid` makes the form ask again.
    pub state: FormState,
    /// Whether the form needs it from now on.
    pub required: Option<bool>,
    /// Its value.
    pub value: Option<Value>,
}

/// State of a form's parameter (CX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormState {
    /// Not asked for yet.
    Empty,
    /// Refused; the form asks again.
    Invalid,
    /// Accepted.
    Filled,
}

/// Where a CX conversation goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A page, by its full name.
    Page(String),
    /// A flow, by its full name.
    Flow(String),
}

/// How the messages of a CX reply join those that the agent has queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// After them.
    #[default]
    Append,
    /// Instead of them.
    Replace,
}

/// What a CX message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// Said on entering a page.
    EntryPrompt,
    /// Asks for a parameter.
    ParameterPrompt,
    /// Said by an event handler or a route.
    HandlerPrompt,
}

/// A context to write.
#[derive(Clone, Debug)]
pub(crate) struct KeptContext {
    pub(crate) id: ContextId,
    pub(crate) lifespan: u32,
    pub(crate) parameters: Map<String, Value>,
}

impl Reply {
    /// A reply of one text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::message(Message::Text(vec![text.into()]))
    }

    /// A reply of one message.
    pub fn message(message: Message) -> Self {
        Self {
            messages: vec![(Platform::Any, message)],
            source: None,
            payload: None,
            contexts: Vec::new(),
            entities: Vec::new(),
            ends: false,
            hand_off: None,
            session_parameters: Map::new(),
            slots: Map::new(),
            form: Vec::new(),
            target: None,
            merge: Merge::Append,
            response_type: None,
            broken: None,
        }
    }

    /// Adds a message.
    #[must_use]
    pub fn and(self, message: Message) -> Self {
        self.on(Platform::Any, message)
    }

    /// Adds a message for one platform only (ES `platform`, CX `channel`).
    #[must_use]
    pub fn on(mut self, platform: Platform, message: Message) -> Self {
        self.messages.push((platform, message));
        self
    }

    /// Keeps `value` as the context of its type, for [`Kept::LIFESPAN`] turns.
    #[must_use]
    pub fn keep<T: Kept>(self, value: T) -> Self {
        self.keep_for(T::LIFESPAN, value)
    }

    /// Keeps `value` as the context of its type, for `lifespan` turns.
    #[must_use]
    pub fn keep_for<T: Kept>(mut self, lifespan: u32, value: T) -> Self {
        keep(&mut self.contexts, &mut self.broken, lifespan, &value);
        self
    }

    /// Ends the context of this type.
    #[must_use]
    pub fn forget<T: Kept>(mut self) -> Self {
        put(&mut self.contexts, id_of::<T>(), 0, Map::new());
        self
    }

    /// Writes a context whose id is only known at run time; `lifespan` 0 ends it. [`Turn::kept`](crate::Turn::kept) reads
    /// it back.
    #[must_use]
    pub fn context(mut self, id: ContextId, lifespan: u32, parameters: Map<String, Value>) -> Self {
        put(&mut self.contexts, id, lifespan, parameters);
        self
    }

    /// Where the reply comes from (ES `source`; CX has none): shown in the platform's logs only.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The payload of the whole response, for the integration; one message for one platform is
    /// [`Message::Payload`].
    #[must_use]
    pub fn payload(mut self, payload: Map<String, Value>) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Sets an entity's values for this session (ES); the last of one name wins.
    #[must_use]
    pub fn session_entity(mut self, entity: SessionEntity) -> Self {
        self.entities.retain(|other| other.name != entity.name);
        self.entities.push(entity);
        self
    }

    /// Ends the conversation (ES v2beta1; in CX by the page `END_SESSION`; ES v2 cannot).
    #[must_use]
    pub fn end(mut self) -> Self {
        self.ends = true;
        self
    }

    /// Hands the conversation to a person (ES v2beta1 and CX; only CX takes the metadata; ES v2 cannot).
    #[must_use]
    pub fn hand_off(mut self, metadata: Map<String, Value>) -> Self {
        self.hand_off = Some(metadata);
        self
    }

    /// Sets a session parameter (CX); null deletes it, and so does a number that is none (`f64::NAN`).
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.session_parameters.insert(name.into(), value.into());
        self
    }

    /// Fills a slot while Dialogflow is filling those of the intent
    /// ([`Bot::slot_filling`](crate::Bot::slot_filling)), so that the user is not asked for it (ES; in CX, use
    /// [`Reply::form`] or [`Reply::set`]).
    ///
    /// It is written into the contexts in which the platform keeps the dialog, where the request holds them. Google
    /// documents that a webhook can set slots, and not how; what is documented is to go to the same intent by a
    /// [`FollowUp`] event with the parameters.
    #[must_use]
    pub fn fill(mut self, slot: impl Into<String>, value: impl Into<Value>) -> Self {
        self.slots.insert(slot.into(), value.into());
        self
    }

    /// Changes a parameter of the page's form (CX).
    #[must_use]
    pub fn form(mut self, parameter: FormReply) -> Self {
        self.form.push(parameter);
        self
    }

    /// Goes to a page or a flow (CX).
    #[must_use]
    pub fn go_to(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Says the reply instead of what the agent has queued (CX).
    #[must_use]
    pub fn replace_queued(mut self) -> Self {
        self.merge = Merge::Replace;
        self
    }

    /// Says what the messages are for (CX v3: only where a message of the request has a type, too, since v3beta1 refuses
    /// the field and nothing else tells the two apart).
    #[must_use]
    pub fn response_type(mut self, kind: ResponseType) -> Self {
        self.response_type = Some(kind);
        self
    }

    /// What the reply says, in words; empty when it says nothing.
    ///
    /// That is its texts for any platform; without those, the words of its rich messages for any platform; without
    /// those, the words for the first platform that has some.
    pub fn plain_text(&self) -> String {
        let said = |counts: &dyn Fn(Platform, &Message) -> bool| {
            let counted = self
                .messages
                .iter()
                .filter(|(platform, message)| counts(*platform, message));
            let texts: Vec<String> = counted.filter_map(|(_, message)| message.plain_text()).collect();
            texts.join("\n")
        };
        let texts = said(&|platform, message| platform == Platform::Any && matches!(message, Message::Text(_)));
        if !texts.is_empty() {
            return texts;
        }
        let rich = said(&|platform, _| platform == Platform::Any);
        if !rich.is_empty() {
            return rich;
        }
        let mut others = self.messages.iter();
        match others.find(|(_, message)| message.plain_text().is_some()) {
            Some((first, _)) => said(&|platform, _| platform == *first),
            None => String::new(),
        }
    }
}

impl Answer {
    /// Why it cannot be sent as meant: a bug of the handler.
    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Self::Reply(reply) => reply.broken.as_deref(),
            Self::FollowUp(follow_up) => follow_up.broken.as_deref(),
        }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl From<FollowUp> for Answer {
    fn from(follow_up: FollowUp) -> Self {
        Self::FollowUp(follow_up)
    }
}

#[expect(clippy::expect_used, reason = "the id was checked at compile time, one line above")]
fn id_of<T: Kept>() -> ContextId {
    const {
        assert!(
            is_context_id(T::CONTEXT),
            "Kept::CONTEXT is not a context id that Dialogflow takes"
        )
    };
    ContextId::parse(T::CONTEXT).expect("checked at compile time")
}

fn keep<T: Kept>(contexts: &mut Vec<KeptContext>, broken: &mut Option<String>, lifespan: u32, value: &T) {
    match serde_json::to_value(value) {
        Ok(Value::Object(parameters)) => put(contexts, id_of::<T>(), lifespan, parameters),
        // Of neither are the words told: they may hold what a user said.
        Ok(_) => *broken = Some(format!("context {} is no JSON object", T::CONTEXT)),
        Err(_) => *broken = Some(format!("context {} cannot be written as JSON", T::CONTEXT)),
    }
}

/// Adds a context; the last of one id wins, as Dialogflow takes each only once.
fn put(contexts: &mut Vec<KeptContext>, id: ContextId, lifespan: u32, parameters: Map<String, Value>) {
    contexts.retain(|context| context.id != id);
    contexts.push(KeptContext {
        id,
        lifespan,
        parameters,
    });
}
