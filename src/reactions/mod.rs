//! What the bot does when something happens: declarative rules, from an event to effects.

mod checker;
mod compile;
mod content;
pub(crate) mod effects;
pub(crate) mod rule;
mod rule_file;
pub(crate) mod rules;
mod scope;
mod sees;
#[cfg(test)]
mod tests;

pub(crate) use self::rule::{Join, JoinMode, Rule, RuleError, Trigger};
pub(crate) use self::scope::{Scope, SeenEvent};
