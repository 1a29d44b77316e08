//! The bot: which handler answers which turn.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::metrics::histogram::Histogram;

use crate::dialogflow;
use crate::fail::Fail;
use crate::handler::reaction::{self, Actions, Event};
use crate::handler::{Handler, Scope, Tx};
use crate::idempotency::key::{Asked, Read};
use crate::lang::Lang;
use crate::nearest::nearest;
use crate::postgres::DemoData;
use crate::reply::Answer;
use crate::turn::{Api, Turn};

/// A text in each language, as `("en", "…")`; the first is for all others.
pub type Texts = &'static [(&'static str, &'static str)];

type Run = Arc<dyn Fn(Scope) -> BoxFuture<'static, Result<Answer, Fail>> + Send + Sync>;

/// What the deployment can do: a list of intents, each with its handler.
#[derive(Default)]
pub struct Bot {
    intents: Vec<Intent>,
    data: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    actions: Actions,
    demo_data: Option<DemoData>,
    misplaced: Option<&'static str>,
    action_twice: Option<&'static str>,
}

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
    prompts: HashMap<&'static str, Texts>,
    example: Option<&'static str>,
    /// What its handler can read of a turn.
    pub(crate) reads: Vec<Read>,
    /// How long its replies took.
    pub(crate) replies: OnceLock<Histogram>,
    run: Run,
}

/// A list of intents that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBot {
    /// Two handlers for one name.
    #[error("{by} {name:?} has two handlers: {first} and {second}")]
    Twice {
        /// By what it is matched.
        by: &'static str,
        /// The name.
        name: String,
        /// The handler named first.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Two actions for one name.
    #[error("the reaction {0:?} is registered twice")]
    ActionTwice(&'static str),
    /// An option with no intent before it.
    #[error("Bot::{0} belongs after the intent it is for, and there is none")]
    Misplaced(&'static str),
    /// An intent with no name.
    #[error("the handler {0} is registered under an empty name")]
    Nameless(&'static str),
}

impl Bot {
    /// A bot that can do nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the intent of this display name.
    #[must_use]
    pub fn intent<A: 'static, H: Handler<A>>(self, display_name: &str, handler: H) -> Self {
        self.add(By::Intent, display_name, handler)
    }

    /// Answers intents that have this action (ES).
    #[must_use]
    pub fn action<A: 'static, H: Handler<A>>(self, action: &str, handler: H) -> Self {
        self.add(By::Action, action, handler)
    }

    /// Answers fulfillments that have this tag (CX). In CX the tag is looked at before the intent.
    #[must_use]
    pub fn tag<A: 'static, H: Handler<A>>(self, tag: &str, handler: H) -> Self {
        self.add(By::Tag, tag, handler)
    }

    /// Answers turns that an event led to.
    #[must_use]
    pub fn event<A: 'static, H: Handler<A>>(self, event: &str, handler: H) -> Self {
        self.add(By::Event, event, handler)
    }

    /// Answers what nothing else does.
    #[must_use]
    pub fn fallback<A: 'static, H: Handler<A>>(self, handler: H) -> Self {
        self.add(By::Fallback, "", handler)
    }

    /// What the user hears when the intent named just before takes too long.
    #[must_use]
    pub fn slow(self, texts: Texts) -> Self {
        self.last("slow", |intent| intent.slow = Some(texts))
    }

    /// How long the handler of the intent named just before may go on after the user has heard the slow text.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        self.last("limit", |intent| intent.limit = Some(limit))
    }

    /// How the intent named just before asks for a parameter that is missing.
    #[must_use]
    pub fn prompt(self, parameter: &'static str, texts: Texts) -> Self {
        self.last("prompt", |intent| {
            intent.prompts.insert(parameter, texts);
        })
    }

    /// Makes a failure of the intent named just before an error status (503), at which Dialogflow says the text of
    /// its own console (ES) or raises its webhook event (CX).
    #[must_use]
    pub fn fail_with_status(self) -> Self {
        self.last("fail_with_status", |intent| intent.fails_with_status = true)
    }

    /// Calls the intent named just before also while Dialogflow ES is filling its slots, and when the user cancels that.
    ///
    /// Without it, the agent's own text goes on in such a turn: its prompt for the next parameter, or that it has
    /// cancelled. A handler that is called then sees by [`Turn::all_required_params_present`] and
    /// [`Turn::cancels_slot_filling`] that there is nothing to carry out, by `""` (`None` in
    /// [`Params`](crate::handler::Params)) what is missing, and by [`Turn::agent_text`] what the agent would say. It can
    /// set slots by [`Reply::fill`](crate::Reply::fill).
    #[must_use]
    pub fn slot_filling(self) -> Self {
        self.last("slot_filling", |intent| intent.slot_filling = true)
    }

    /// Shares a value with all handlers, by its type; they take it as [`Data<T>`](crate::handler::Data).
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.data.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// SQL that fills the database for a demonstration; run in one transaction, while `table` is empty.
    #[must_use]
    pub fn demo_data(mut self, table: &'static str, sql: &'static str) -> Self {
        self.demo_data = Some(DemoData { table, sql });
        self
    }

    /// Parameters, as JSON, with which the intent named just before is tried out when the service starts.
    #[must_use]
    pub fn example(self, parameters: &'static str) -> Self {
        self.last("example", |intent| intent.example = Some(parameters))
    }

    /// Makes an action of an async function, for the rules in `events/reactions` to `run` by this name.
    ///
    /// It takes the event and a [`Tx`] that commits with everything else that comes of the event. When it fails, it is
    /// rolled back and tried again up to five times; then the event is a dead letter. It may take ten seconds. What it
    /// does outside of the transaction may happen more than once.
    #[must_use]
    pub fn reaction<F, Fut>(mut self, name: &'static str, action: F) -> Self
    where
        F: Fn(Event, Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        if self.actions.insert(name, reaction::action(action)).is_some() {
            self.action_twice.get_or_insert(name);
        }
        self
    }

    /// A turn to try, from the first intent that has an example.
    pub(crate) fn example_turn(&self) -> Option<String> {
        let (name, parameters) = self
            .intents
            .iter()
            .find_map(|intent| Some((&intent.name, intent.example?)))?;
        Some(dialogflow::example(name, parameters))
    }

    /// The list, in order.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The names that rules may `run`.
    pub(crate) fn action_names(&self) -> Vec<&'static str> {
        self.actions.keys().copied().collect()
    }

    pub(crate) fn demo(&self) -> Option<DemoData> {
        self.demo_data
    }

    /// Checks the list.
    ///
    /// # Errors
    /// [`BadBot`] when two handlers have one name, or an option belongs to none.
    pub fn check(&self) -> Result<(), BadBot> {
        if let Some(option) = self.misplaced {
            return Err(BadBot::Misplaced(option));
        }
        if let Some(name) = self.action_twice {
            return Err(BadBot::ActionTwice(name));
        }
        let mut seen: HashMap<(By, &str), &Intent> = HashMap::new();
        for intent in &self.intents {
            if intent.name.is_empty() && intent.by != By::Fallback {
                return Err(BadBot::Nameless(intent.handler));
            }
            if let Some(first) = seen.insert((intent.by, &intent.name), intent) {
                let name = intent.name.clone();
                return Err(BadBot::Twice {
                    by: intent.by.name(),
                    name,
                    first: first.handler,
                    second: intent.handler,
                });
            }
        }
        Ok(())
    }

    /// Makes the list ready for dispatch.
    pub(crate) fn into_routes(self) -> Result<(Routes, SharedData, Actions), BadBot> {
        self.check()?;
        let index = self.intents.iter().enumerate();
        let by_name = index
            .map(|(at, intent)| ((intent.by, intent.name.clone().into_boxed_str()), at))
            .fold(
                HashMap::<By, HashMap<Box<str>, usize>>::new(),
                |mut names, ((by, name), at)| {
                    names.entry(by).or_default().insert(name, at);
                    names
                },
            );
        Ok((
            Routes {
                intents: self.intents.into_iter().map(Arc::new).collect(),
                by_name,
            },
            self.data,
            self.actions,
        ))
    }

    fn add<A: 'static, H: Handler<A>>(mut self, by: By, name: &str, handler: H) -> Self {
        self.intents.push(Intent {
            by,
            name: name.to_owned(),
            handler: std::any::type_name::<H>(),
            slow: None,
            limit: None,
            slot_filling: false,
            fails_with_status: false,
            prompts: HashMap::new(),
            example: None,
            reads: handler.reads(),
            replies: OnceLock::new(),
            run: Arc::new(move |scope| handler.clone().call(scope)),
        });
        self
    }

    fn last(mut self, option: &'static str, change: impl FnOnce(&mut Intent)) -> Self {
        match self.intents.last_mut() {
            Some(intent) => change(intent),
            None => self.misplaced = Some(option),
        }
        self
    }
}

/// What a bot shares with its handlers.
pub(crate) type SharedData = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

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

    pub(crate) fn slow_text(&self, lang: &Lang) -> String {
        self.slow
            .map_or_else(|| crate::fail::slow_text(lang), |texts| text(texts, lang).to_owned())
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

/// The list, ready for dispatch.
pub(crate) struct Routes {
    intents: Vec<Arc<Intent>>,
    by_name: HashMap<By, HashMap<Box<str>, usize>>,
}

impl Routes {
    /// The intent that answers `turn`.
    ///
    /// In CX by tag, intent, event; in ES by intent, action, event (whose name ES puts into the query text); else the
    /// fallback.
    pub(crate) fn find(&self, turn: &Turn) -> Option<&Arc<Intent>> {
        let by_tag = || self.named(By::Tag, &turn.tag);
        let by_intent = || self.named(By::Intent, &turn.intent);
        let matched = match turn.api {
            Api::CxV3 => by_tag()
                .or_else(by_intent)
                .or_else(|| self.named(By::Event, &turn.event)),
            Api::EsV2 | Api::EsV2beta1 => by_intent()
                .or_else(|| self.named(By::Action, &turn.action))
                // A text that matched no intent is what a user said, though it be the name of an event.
                .or_else(|| self.named(By::Event, &turn.text).filter(|_| !turn.is_fallback)),
        };
        matched.or_else(|| self.at(By::Fallback, ""))
    }

    /// The name in the list that `name` may be meant for.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.intents.iter().map(|intent| intent.name.as_str()))
    }

    fn named(&self, by: By, name: &str) -> Option<&Arc<Intent>> {
        if name.is_empty() { None } else { self.at(by, name) }
    }

    fn at(&self, by: By, name: &str) -> Option<&Arc<Intent>> {
        self.by_name.get(&by)?.get(name).map(|at| &self.intents[*at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    async fn hello() -> Result<Reply, Fail> {
        Ok(Reply::text("hello"))
    }

    async fn bye() -> Result<Reply, Fail> {
        Ok(Reply::text("bye"))
    }

    #[test]
    fn two_handlers_for_one_name_are_refused_naming_both() {
        let refused = Bot::new()
            .intent("Hello", hello)
            .action("Hello", hello)
            .intent("Hello", bye)
            .check()
            .unwrap_err();
        let text = refused.to_string();
        assert!(text.starts_with("intent \"Hello\" has two handlers: "), "{text}");
        assert!(
            text.contains("tests::hello and ") && text.ends_with("tests::bye"),
            "{text}"
        );
    }

    #[test]
    fn option_with_no_intent_is_refused() {
        assert_eq!(
            Bot::new().slow(&[("en", "…")]).intent("a", hello).check(),
            Err(BadBot::Misplaced("slow"))
        );
    }
}
