//! A rule: what it listens to, when it acts, and what it does.

use std::time::Duration;

use super::content::Content;
use super::effects::{Action, Effect};
use super::scope::Scope;
use crate::event::event_type::EventType;
use crate::event::pattern::Pattern;
use crate::expression::{EvalError, Expression};

/// A file of `events/reactions`, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The file's name without `.toml`.
    pub(crate) name: String,
    /// What it listens to.
    pub(crate) trigger: Trigger,
    pub(super) when: Option<Expression>,
    pub(super) actions: Vec<Action>,
    pub(super) uses_memory: bool,
}

/// What a rule listens to.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// Each event of these types.
    On(Vec<Pattern>),
    /// Several events that belong together.
    Join(Box<Join>),
}

/// Several events that belong together.
#[derive(Debug)]
pub(crate) struct Join {
    /// How many of them.
    pub(crate) mode: JoinMode,
    /// Their types.
    pub(crate) types: Vec<EventType>,
    /// From the first that comes.
    pub(crate) within: Duration,
    pub(super) key: Content,
    pub(super) on_timeout: Vec<Action>,
}

/// How many events of a join it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinMode {
    /// One of each type.
    All,
    /// The first of any type; those that follow within the time are not acted upon.
    Any,
}

/// Why a rule has no result: one line that holds no value of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}, {place}: {problem}")]
pub(crate) struct RuleError {
    /// The rule's name.
    pub(crate) rule: String,
    /// `when`, `key`, or the action by its number, from 1, and its kind.
    pub(crate) place: String,
    /// What is wrong with the expression there.
    pub(crate) problem: String,
}

impl Rule {
    /// Whether an event of this type is for it.
    pub(crate) fn listens_to(&self, event_type: &str) -> bool {
        match &self.trigger {
            Trigger::On(patterns) => patterns.iter().any(|pattern| pattern.matches(event_type)),
            Trigger::Join(join) => join.types.iter().any(|one| one.as_str() == event_type),
        }
    }

    /// What it listens to.
    pub(crate) fn types(&self) -> Vec<Pattern> {
        match &self.trigger {
            Trigger::On(patterns) => patterns.clone(),
            Trigger::Join(join) => join.types.iter().cloned().map(Pattern::One).collect(),
        }
    }

    /// The types that it emits.
    pub(crate) fn emits(&self) -> impl Iterator<Item = &str> {
        self.all_actions().filter_map(Action::emits)
    }

    /// The variables that hold the secrets with which it shows who it is.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.all_actions().flat_map(Action::secrets)
    }

    /// Whether it may not act, although what it listens to has come.
    pub(crate) fn is_conditional(&self) -> bool {
        self.when.is_some() || matches!(self.trigger, Trigger::Join(_))
    }

    fn all_actions(&self) -> impl Iterator<Item = &Action> {
        let on_timeout: &[Action] = match &self.trigger {
            Trigger::On(_) => &[],
            Trigger::Join(join) => &join.on_timeout,
        };
        self.actions.iter().chain(on_timeout)
    }

    /// Whether its expressions read facts, so that they must be loaded.
    pub(crate) fn uses_memory(&self) -> bool {
        self.uses_memory
    }

    /// What the events of a join have in common; none for a rule that is no join.
    ///
    /// # Errors
    /// [`RuleError`] when it cannot be evaluated or is no id.
    pub(crate) fn key(&self, scope: &Scope) -> Result<Option<String>, RuleError> {
        match &self.trigger {
            Trigger::On(_) => Ok(None),
            Trigger::Join(join) => join
                .key
                .eval_id(&scope.names())
                .map(|key| Some(key.into()))
                .map_err(|error| self.error("key", error)),
        }
    }

    /// Whether its condition holds, or it has none. Of a join it is asked when all events are there.
    ///
    /// # Errors
    /// [`RuleError`] when it cannot be evaluated.
    pub(crate) fn when(&self, scope: &Scope) -> Result<bool, RuleError> {
        let Some(when) = &self.when else {
            return Ok(true);
        };
        when.holds(&scope.names()).map_err(|error| self.error("when", error))
    }

    /// What it does, in order.
    ///
    /// # Errors
    /// [`RuleError`] names the first action that cannot be evaluated.
    pub(crate) fn effects(&self, scope: &Scope) -> Result<Vec<Effect>, RuleError> {
        self.effects_of(&self.actions, "action", scope)
    }

    /// What a join does when its time is over; nothing for a rule that is no join.
    ///
    /// # Errors
    /// [`RuleError`] names the first action that cannot be evaluated.
    pub(crate) fn timeout_effects(&self, scope: &Scope) -> Result<Vec<Effect>, RuleError> {
        match &self.trigger {
            Trigger::On(_) => Ok(Vec::new()),
            Trigger::Join(join) => self.effects_of(&join.on_timeout, "on_timeout action", scope),
        }
    }

    fn effects_of(&self, actions: &[Action], what: &str, scope: &Scope) -> Result<Vec<Effect>, RuleError> {
        let names = scope.names();
        let effects = actions.iter().enumerate().map(|(index, action)| {
            action.eval(&names).map_err(|error| {
                let place = format!("{what} {} ({})", index + 1, action.kind());
                self.error(&place, error)
            })
        });
        effects.collect()
    }

    fn error(&self, place: &str, error: EvalError) -> RuleError {
        RuleError {
            rule: self.name.clone(),
            place: place.to_owned(),
            problem: error.0,
        }
    }
}
