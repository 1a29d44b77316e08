//! What the bot does when something happens: declarative rules, from an event to effects.

pub(crate) mod action;
pub(crate) mod compile;
pub(crate) mod content;
pub(crate) mod rule;
mod rule_file;
pub(crate) mod rules;
mod scope;
#[cfg(test)]
mod tests;

pub(crate) use self::rule::{Join, JoinMode, Rule, Trigger};
pub(crate) use self::scope::{Scope, SeenEvent};
