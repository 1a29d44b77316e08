//! The platforms that turns come from: a folder each, and here all that the rest of the service asks of one.
//!
//! To the service a platform is
//!
//! * what makes a [`Turn`] of a request's bytes ([`decode`]), and bytes of an [`Answer`](crate::reply::Answer) ([`encode`]);
//! * how long it waits for them: a method of its settings ([`DialogflowSettings::limit`]);
//! * how its conversations are named ([`SessionName::parse`]), and where they hold what is kept in them ([`Turn::kept`]);
//! * what it calls things, where a caller is told of one ([`intent_field`]).
//!
//! Its JSON is known in its folder only. There is one platform, so what it has to say is given on as it stands. Another is a
//! folder and a `mod` here, with its APIs in [`Api`](crate::turn::Api): what is given on becomes a function that asks a
//! turn's `api` whose it is.

pub(crate) mod dialogflow;
mod json;
mod not_a_turn;

use serde_json::{Map, Value};

pub use self::dialogflow::{DialogflowSettings, EsApi};
pub(crate) use self::dialogflow::{
    SESSION_SHAPE, content, decode, encode, event, example, intent_field, raw, takes_events,
};
pub(crate) use self::not_a_turn::NotATurn;
use crate::reply::KeptContext;
use crate::session::{BadSessionName, SessionName};
use crate::turn::Turn;

impl SessionName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`BadSessionName`] when it is none of a platform's.
    pub fn parse(name: &str) -> Result<Self, BadSessionName> {
        dialogflow::session::read(name)
    }
}

impl Turn {
    /// What was kept in the context of this id: in ES as it was written, whatever the platform has written into the
    /// context since; all parameters of a context that we have not written. In CX a session parameter that is an object.
    pub fn kept(&self, id: &str) -> Option<&Map<String, Value>> {
        dialogflow::kept(self, id)
    }

    /// Keeps a context in the turn, as if an earlier one had.
    pub(crate) fn keep(&mut self, context: &KeptContext) {
        dialogflow::keep(self, context);
    }
}
