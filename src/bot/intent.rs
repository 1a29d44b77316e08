//! One line of the bot's list: by what a turn is matched, the handler, and what the user hears instead of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::metrics::histogram::Histogram;

use crate::fail::{self, Fail};
use crate::handler::Scope;
use crate::idempotency::key::{Asked, Read};
use crate::lang::Lang;
use crate::reply::Answer;

/// A text in each language, as `("en", "…")`; the first is for all others.
pub type Texts = &'static [(&'static str, &'static str)];

pub(super) type Run = Arc<dyn Fn(Scope) -> BoxFuture<'static, Result<Answer, Fail>> + Send + Sync>;

/// By what a turn is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The matched intent's display name.
    Intent,
    /// CX: the fulfillment's tag.
    Tag,
    /// ES: the intent's action.
    Action,
    /// The event that led here.
    Event,
    /// None of these.
    Fallback,
}

impl By {
    /// Its name, as in the table of intents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Tag => "tag",
            Self::Action => "action",
            Self::Event => "event",
            Self::Fallback => "fallback",
        }
    }
}

/// One line of the list.
#[derive(Clone)]
pub struct Intent {
    /// By what it is matched.
    pub by: By,
    /// The name it is matched by, exactly; empty for the fallback.
    pub name: String,
    /// Path of its handler.
    pub handler: &'static str,
    /// What the user hears when the handler takes too long.
    pub slow: Option<Texts>,
    /// How long the handler may go on, when not as long as the setting says.
    pub limit: Option<Duration>,
    /// Whether it is called while Dialogflow is filling slots.
    pub slot_filling: bool,
    /// Whether a failure on our side is an error status, at which the platform says its own text.
    pub fails_with_status: bool,
    pub(super) prompts: HashMap<&'static str, Texts>,
    pub(super) example: Option<&'static str>,
    /// What its handler can read of a turn.
    pub(crate) reads: Vec<Read>,
    /// How long its replies took.
    pub(crate) replies: OnceLock<Histogram>,
    pub(super) run: Run,
}

impl Intent {
    /// What tells the question of a turn that it answers from those of others.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            by: self.by.name(),
            name: &self.name,
            reads: &self.reads,
        }
    }

    /// The name under which logs and metrics know it.
    pub fn label(&self) -> &str {
        if self.by == By::Fallback {
            "(fallback)"
        } else {
            &self.name
        }
    }

    pub(crate) fn run(&self, scope: Scope) -> BoxFuture<'static, Result<Answer, Fail>> {
        (self.run)(scope)
    }

    pub(crate) fn prompt(&self, parameter: &str, lang: &Lang) -> Option<&'static str> {
        self.prompts.get(parameter).map(|texts| text(texts, lang))
    }

    /// The parameters for which it has words to ask.
    pub(crate) fn asks_for(&self) -> impl Iterator<Item = &'static str> {
        self.prompts.keys().copied()
    }

    pub(crate) fn slow_text(&self, lang: &Lang) -> String {
        self.slow
            .map_or_else(|| fail::slow_text(lang), |texts| text(texts, lang).to_owned())
    }
}

fn text(texts: Texts, lang: &Lang) -> &'static str {
    texts
        .iter()
        .find(|(primary, _)| lang.is(primary))
        .or(texts.first())
        .map_or("", |(_, text)| text)
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Intent({} {:?} -> {})", self.by.name(), self.name, self.handler)
    }
}
