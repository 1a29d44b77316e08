//! The bot: which handler answers which turn.

mod intent;
mod routes;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use self::intent::{By, Intent, Texts};
pub(crate) use self::routes::Routes;
use crate::chat_page::ChatPage;
use crate::handler::reaction::{self, Actions, Event};
use crate::handler::{Handler, Tx};
use crate::platform;
use crate::postgres::DemoData;
use sqlx::migrate::Migrator;

/// What the deployment can do: a list of intents, each with its handler.
#[derive(Default)]
pub struct Bot {
    intents: Vec<Intent>,
    data: SharedData,
    actions: Actions,
    migrations: Option<Migrator>,
    demo_data: Option<DemoData>,
    chat_page: Option<ChatPage>,
    misplaced: Option<&'static str>,
    action_twice: Option<&'static str>,
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

    /// Answers the intent of this display name; in CX also fulfillments that have it as their tag.
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
    /// cancelled. A handler that is called then sees by the [`Turn`](crate::Turn)'s `all_required_params_present` and
    /// `cancels_slot_filling` that there is nothing to carry out, by `""` (`None` in [`Params`](crate::handler::Params))
    /// what is missing, and by `agent_text` what the agent would say. It can set slots by
    /// [`Reply::fill`](crate::Reply::fill).
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

    /// The migrations of the bot's own tables, such as `sqlx::migrate!()`; those that are missing are applied when the
    /// service starts, and by `migrate`.
    ///
    /// They are recorded in `_sqlx_migrations`, as sqlx's own command does it. The framework's tables, and its record, are
    /// in the schema `rejoinder` and in nobody's way. Migrations that are applied and are not in the list are left alone, so
    /// that a version can be taken back.
    #[must_use]
    pub fn migrations(mut self, migrations: Migrator) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// SQL that fills the database for a demonstration; run in one transaction, while `table` is empty.
    #[must_use]
    pub fn demo_data(mut self, table: &'static str, sql: &'static str) -> Self {
        self.demo_data = Some(DemoData { table, sql });
        self
    }

    /// A page for talking with the bot in a browser, at `/chat`, for a demonstration: it is there for everybody, and what it
    /// asks the service is asked as by anybody else, so turns are answered where no caller method is set.
    #[must_use]
    pub fn chat_page(mut self, page: ChatPage) -> Self {
        self.chat_page = Some(page);
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
        Some(platform::example(name, parameters))
    }

    /// The list, in order.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The names that rules may `run`.
    pub(crate) fn action_names(&self) -> Vec<&'static str> {
        self.actions.keys().copied().collect()
    }

    pub(crate) fn own_migrations(&self) -> Option<&Migrator> {
        self.migrations.as_ref()
    }

    pub(crate) fn page(&self) -> Option<ChatPage> {
        self.chat_page
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::Fail;
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
