//! What came of an event.

use serde::Serialize;

use crate::conversation::Done;
use crate::reactions::{Effect, Rule};

/// What came of one event.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// No rule listens, or the event was erased.
    Unheard,
    /// Rules have looked at it.
    Applied(Vec<RuleOutcome>),
    /// A rule failed; nothing of it is done.
    Failed(String),
    /// It waits behind a parked event of its entity.
    Waits,
}

/// What a rule made of an event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RuleOutcome {
    pub(super) rule: String,
    /// Why it did not act; `None` when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why_not: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) effects: Vec<Effect>,
    /// What came of each effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) done: Vec<Done>,
}

impl Fate {
    pub(super) fn done(&self) -> impl Iterator<Item = &Done> {
        let outcomes = match self {
            Self::Applied(outcomes) => outcomes.as_slice(),
            Self::Unheard | Self::Failed(_) | Self::Waits => &[],
        };
        outcomes.iter().flat_map(|outcome| &outcome.done)
    }
}

impl RuleOutcome {
    pub(super) fn none(rule: &Rule, why_not: &str) -> Self {
        Self {
            rule: rule.name.clone(),
            why_not: Some(why_not.to_owned()),
            effects: Vec::new(),
            done: Vec::new(),
        }
    }
}
