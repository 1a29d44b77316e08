//! A conversation with a bot under test, carried on as Dialogflow ES does: contexts live for some turns, and the
//! parameters of each turn are written into them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::TestBot;

/// A conversation of Dialogflow ES, turn after turn.
///
/// What the replies keep is active in the turns that follow, for as many as they say. As Dialogflow does, each turn
/// writes its parameters into every active context: under their names, in place of what stood there, and with
/// `NAME.original` beside them. (It also ends contexts after 20 minutes; a story has no such clock.)
pub struct Story<'a> {
    bot: &'a TestBot,
    session: String,
    contexts: Vec<Active>,
}

struct Active {
    /// Its full name.
    name: Value,
    /// How many more turns it lives.
    lifespan: u64,
    parameters: Map<String, Value>,
}

impl TestBot {
    /// Begins a conversation in the session with this full name, `projects/p/agent/sessions/s`.
    pub fn story(&self, session: &str) -> Story<'_> {
        Story {
            bot: self,
            session: session.to_owned(),
            contexts: Vec::new(),
        }
    }
}

impl Story<'_> {
    /// The user says something that the agent takes for `intent`; what comes back is the whole reply.
    ///
    /// `parameters` is an object of all that the intent has: one that the user has not said is `""`.
    ///
    /// # Panics
    /// When the turn is refused, or the reply keeps a context that Dialogflow would refuse.
    pub async fn say(&mut self, intent: &str, parameters: Value) -> Value {
        self.contexts.retain(|context| context.lifespan > 0);
        for context in &mut self.contexts {
            context.lifespan -= 1;
            context.merge(&parameters);
        }
        let contexts: Vec<Value> = self.contexts.iter().map(Active::written).collect();
        let turn = json!({
            "responseId": Uuid::new_v4().to_string(),
            "session": self.session,
            "queryResult": {
                "queryText": "as the user says it",
                "languageCode": "en",
                "intent": {"displayName": intent},
                "parameters": parameters,
                "allRequiredParamsPresent": true,
                "outputContexts": contexts,
            },
        });
        let reply = self.bot.turn(&turn).await;
        for kept in reply["outputContexts"].as_array().into_iter().flatten() {
            self.keep(kept);
        }
        reply
    }

    /// A context of the reply takes the place of the active one.
    fn keep(&mut self, kept: &Value) {
        let name = kept["name"].as_str().expect("a context's name");
        assert!(
            name.starts_with(&format!("{}/contexts/", self.session)),
            "{name} is no context of {}",
            self.session
        );
        self.contexts.retain(|context| context.name != *name);
        self.contexts.push(Active {
            name: kept["name"].clone(),
            lifespan: kept["lifespanCount"].as_u64().unwrap_or(0),
            parameters: kept["parameters"].as_object().cloned().unwrap_or_default(),
        });
    }
}

impl Active {
    fn merge(&mut self, parameters: &Value) {
        for (name, value) in parameters.as_object().into_iter().flatten() {
            let original = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.parameters.insert(name.clone(), value.clone());
            self.parameters.insert(format!("{name}.original"), original.into());
        }
    }

    fn written(&self) -> Value {
        let mut written = json!({"name": self.name, "parameters": self.parameters});
        // JSON of protobuf leaves a zero out.
        if self.lifespan > 0 {
            written["lifespanCount"] = self.lifespan.into();
        }
        written
    }
}
