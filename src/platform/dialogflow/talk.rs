//! A conversation with a bot, carried on as Dialogflow ES does: contexts live for some turns, and the parameters of each
//! turn are written into them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::kept::KEPT;
use super::session::{is_of_cx, read};
use crate::session::SessionName;

/// Sessions that are named by their last part alone are of this agent.
const SESSIONS: &str = "projects/demo/agent/sessions";

/// A conversation of Dialogflow ES, seen from there.
///
/// What replies keep is active in the turns that follow, for as many as they say. (It also ends contexts after 20
/// minutes; here they have no such clock.)
pub(crate) struct Talk {
    session: String,
    contexts: Vec<Active>,
}

/// A context, as a reply has set it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Active {
    /// What stands behind `/contexts/`.
    pub(crate) id: String,
    /// How many more turns it lives.
    pub(crate) lifespan: u64,
    pub(crate) parameters: Map<String, Value>,
}

/// What the agent has taken a sentence for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// The intent's display name.
    pub(crate) intent: String,
    pub(crate) is_fallback: bool,
    pub(crate) action: String,
    /// As the user said it.
    pub(crate) text: String,
    /// All that the intent has: one that the user has not said is `""`.
    pub(crate) parameters: Map<String, Value>,
    /// The contexts that the agent itself sets, with their lifespans.
    pub(crate) sets: Vec<(String, u64)>,
    /// What the agent says where the webhook does not.
    pub(crate) own_text: String,
}

impl Talk {
    /// Reads the name of a session of ES: the full one, or its last part.
    ///
    /// # Errors
    /// What was expected instead.
    pub(crate) fn session_named(name: &str) -> Result<SessionName, String> {
        let full = match name.contains('/') {
            true => name.to_owned(),
            false => format!("{SESSIONS}/{name}"),
        };
        let session = read(&full).map_err(|error| error.to_string())?;
        match is_of_cx(&session) {
            true => Err("found a session of CX, expected one of ES, projects/…/agent/sessions/…".to_owned()),
            false => Ok(session),
        }
    }

    /// The name of a session that nobody has had.
    pub(crate) fn new_session() -> String {
        format!("{SESSIONS}/{}", Uuid::new_v4())
    }

    /// Begins in the session with this full name.
    pub(crate) fn begin(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            contexts: Vec::new(),
        }
    }

    /// Its full name.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// The contexts that the next sentence finds active.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &Active> {
        self.contexts.iter().filter(|context| context.lifespan > 0)
    }

    /// One of them.
    pub(crate) fn context(&self, id: &str) -> Option<&Active> {
        self.contexts().find(|context| context.id.eq_ignore_ascii_case(id))
    }

    /// The next turn, as it is posted.
    pub(crate) fn turn(&mut self, taken: &Taken, language: &str) -> Value {
        self.contexts.retain(|context| context.lifespan > 0);
        for context in &mut self.contexts {
            context.lifespan -= 1;
            context.merge(&taken.parameters);
        }
        for (id, lifespan) in &taken.sets {
            let mut context = Active {
                id: id.to_lowercase(),
                lifespan: *lifespan,
                parameters: Map::new(),
            };
            context.merge(&taken.parameters);
            self.set(context);
        }
        let mut intent = json!({"displayName": taken.intent});
        let mut query = json!({
            "queryText": taken.text,
            "languageCode": language,
            "parameters": taken.parameters,
            "allRequiredParamsPresent": true,
            "outputContexts": self.contexts.iter().map(|context| self.written(context)).collect::<Vec<_>>(),
        });
        // JSON of protobuf leaves out what is empty, false or zero.
        if taken.is_fallback {
            intent["isFallback"] = true.into();
        }
        query["intent"] = intent;
        for (field, text) in [("action", &taken.action), ("fulfillmentText", &taken.own_text)] {
            if !text.is_empty() {
                query[field] = text.as_str().into();
            }
        }
        json!({"responseId": Uuid::new_v4().to_string(), "session": self.session, "queryResult": query})
    }

    /// Keeps what a reply keeps: its contexts take the place of those that are active. They are returned.
    ///
    /// # Errors
    /// The name of one that is no context of this session.
    pub(crate) fn keep(&mut self, reply: &Value) -> Result<Vec<Active>, String> {
        let mut kept = Vec::new();
        for context in reply["outputContexts"].as_array().into_iter().flatten() {
            let name = context["name"].as_str().unwrap_or_default();
            let id = name
                .strip_prefix(self.session.as_str())
                .and_then(|rest| rest.strip_prefix("/contexts/"));
            let context = Active {
                id: id.ok_or_else(|| name.to_owned())?.to_owned(),
                lifespan: context["lifespanCount"].as_u64().unwrap_or(0),
                parameters: context["parameters"].as_object().cloned().unwrap_or_default(),
            };
            self.set(context.clone());
            kept.push(context);
        }
        Ok(kept)
    }

    fn set(&mut self, context: Active) {
        self.contexts.retain(|active| active.id != context.id);
        self.contexts.push(context);
    }

    fn written(&self, context: &Active) -> Value {
        let name = format!("{}/contexts/{}", self.session, context.id);
        let mut written = json!({"name": name, "parameters": context.parameters});
        if context.lifespan > 0 {
            written["lifespanCount"] = context.lifespan.into();
        }
        written
    }
}

impl Active {
    /// Whether a parameter of a context is there for programs: what stands beside the user's words, and what we keep.
    pub(crate) fn is_for_the_machine(parameter: &str) -> bool {
        parameter.ends_with(".original") || parameter == KEPT
    }

    /// Writes a turn's parameters into it, in place of what stood there, each with `NAME.original` beside it.
    fn merge(&mut self, parameters: &Map<String, Value>) {
        for (name, value) in parameters {
            let original = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.parameters.insert(name.clone(), value.clone());
            self.parameters.insert(format!("{name}.original"), original.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "projects/p/agent/sessions/s";

    fn reply(id: &str, lifespan: u64) -> Value {
        let name = format!("{SESSION}/contexts/{id}");
        json!({"outputContexts": [{"name": name, "lifespanCount": lifespan, "parameters": {"a": "kept"}}]})
    }

    fn said(parameters: Value) -> Taken {
        Taken {
            parameters: parameters.as_object().cloned().unwrap(),
            ..Taken::default()
        }
    }

    #[test]
    fn context_lives_for_as_many_turns_as_it_says_and_takes_what_they_say() {
        let mut talk = Talk::begin(SESSION);
        talk.keep(&reply("order", 2)).unwrap();
        let turn = talk.turn(&said(json!({"a": 7})), "en");
        let context = &turn["queryResult"]["outputContexts"][0];
        assert_eq!(context["lifespanCount"], 1);
        assert_eq!(context["parameters"], json!({"a": 7, "a.original": "7"}));
        assert!(talk.context("ORDER").is_some());
        let turn = talk.turn(&said(json!({})), "en");
        assert_eq!(turn["queryResult"]["outputContexts"][0].get("lifespanCount"), None);
        assert!(talk.context("order").is_none());
        let turn = talk.turn(&said(json!({})), "en");
        assert_eq!(turn["queryResult"]["outputContexts"], json!([]));
    }

    #[test]
    fn context_of_another_session_is_none_of_this_one() {
        let other = json!({"outputContexts": [{"name": "projects/p/agent/sessions/t/contexts/order"}]});
        let refused = Talk::begin(SESSION).keep(&other).unwrap_err();
        assert_eq!(refused, "projects/p/agent/sessions/t/contexts/order");
    }

    #[test]
    fn contexts_that_the_agent_sets_are_in_the_turn_itself() {
        let taken = Taken {
            sets: vec![("Asked".to_owned(), 3)],
            ..said(json!({"a": "b"}))
        };
        let turn = Talk::begin(SESSION).turn(&taken, "en");
        let context = &turn["queryResult"]["outputContexts"][0];
        assert_eq!(context["name"], format!("{SESSION}/contexts/asked"));
        assert_eq!(
            (&context["lifespanCount"], &context["parameters"]["a"]),
            (&json!(3), &json!("b"))
        );
    }
}
