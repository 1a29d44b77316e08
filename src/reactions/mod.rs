//! What the bot does when something happens: declarative rules, from an event to effects.

mod action;
mod compile;
mod content;
mod effect;
mod event;
pub(crate) mod expression;
mod rule;
mod rule_file;
mod rulebook;
mod rules;
mod scope;
#[cfg(test)]
mod tests;

pub(crate) use self::effect::{Effect, FactScope, GotoKind, HttpCall, Recipient};
pub use self::event::Event;
pub(crate) use self::event::{Actions, action};
pub(crate) use self::rule::{Join, JoinMode, Rule, Trigger};
pub(crate) use self::rulebook::{Edition, Rulebook, check, errors};
pub(crate) use self::scope::{Scope, SeenEvent};
