//! A conversation with a bot under test, carried on as Dialogflow ES does.

use serde_json::Value;

use super::TestBot;
use crate::platform::dialogflow::{Taken, Talk};

/// A conversation of Dialogflow ES, turn after turn.
///
/// What the replies keep is active in the turns that follow, for as many as they say. As Dialogflow does, each turn
/// writes its parameters into every active context: under their names, in place of what stood there, and with
/// `NAME.original` beside them. (It also ends contexts after 20 minutes; a story has no such clock.)
pub struct Story<'a> {
    bot: &'a TestBot,
    talk: Talk,
}

impl TestBot {
    /// Begins a conversation in the session with this full name, `projects/p/agent/sessions/s`.
    pub fn story(&self, session: &str) -> Story<'_> {
        Story {
            bot: self,
            talk: Talk::begin(session),
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
        let taken = Taken {
            intent: intent.to_owned(),
            text: "as the user says it".to_owned(),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            ..Taken::default()
        };
        let turn = self.talk.turn(&taken, "en");
        let reply = self.bot.turn(&turn).await;
        self.talk.keep(&reply).expect("contexts of this session");
        reply
    }
}
