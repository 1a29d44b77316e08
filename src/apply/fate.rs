//! What came of an event.

use serde::{Serialize, Serializer};

use crate::event::catalogue::UpcastError;
use crate::log::Logged;
use crate::reactions::effects::run::ActionError;
use crate::reactions::effects::{Done, Effect, Made, NotEmitted};
use crate::reactions::{Rule, RuleError};

/// What came of one event.
#[derive(Debug)]
pub(crate) enum Fate {
    /// No rule listens, or the event was erased.
    Unheard,
    /// Rules have looked at it.
    Applied(Vec<RuleOutcome>),
    /// It could not be applied; nothing of it is done.
    Failed(Failure),
    /// It waits behind a parked event of its entity.
    Waits,
}

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The payload is no JSON that can be read.
    #[error(transparent)]
    Payload(#[from] serde_json::Error),
    /// There is no way from the version of its schema to the newest one.
    #[error(transparent)]
    Upcast(#[from] UpcastError),
    /// An expression of a rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A join whose key came to something else when it was locked.
    #[error("rule {rule}: its join is not locked")]
    NotLocked { rule: String },
    /// A rule emits what is no event.
    #[error("rule {rule}: {error}")]
    Emitted { rule: String, error: NotEmitted },
    /// An action written in Rust.
    #[error("{error}")]
    Action { rule: String, error: ActionError },
    /// The database does not take what comes of it.
    #[error(transparent)]
    Refused(sqlx::Error),
    /// It ends its process.
    #[error("the process ended each time it was tried")]
    Ended,
}

/// What a rule made of an event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RuleOutcome {
    pub(crate) rule: String,
    #[serde(skip_serializing_if = "OutcomeKind::is_event")]
    pub(super) kind: OutcomeKind,
    /// Why it did not act; `None` when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<WhyNot>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) effects: Vec<Effect>,
    /// What came of each effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) done: Vec<Done>,
}

/// Why a rule did not act.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WhyNot {
    #[error("its condition does not hold")]
    Condition,
    /// A join that has not seen these types.
    #[error("it waits for {}", .0.join(", "))]
    Waits(Vec<String>),
    /// A join whose events have all come before.
    #[error("it has acted before")]
    HasActed,
    /// A join whose time was over before.
    #[error("its time was over")]
    HasTimedOut,
    /// A join whose time was over when the event came.
    #[error("its time is over")]
    TooLate,
}

impl Serialize for WhyNot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What made a rule act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeKind {
    /// The event itself.
    Event,
    /// The time of the join that the event had opened.
    TimeOut,
}

impl Fate {
    /// What the rules made of it.
    pub(super) fn outcomes(&self) -> &[RuleOutcome] {
        match self {
            Self::Applied(outcomes) => outcomes,
            Self::Unheard | Self::Failed(_) | Self::Waits => &[],
        }
    }

    /// What came of the effects.
    pub(super) fn done(&self) -> impl Iterator<Item = &Done> {
        self.outcomes().iter().flat_map(|outcome| &outcome.done)
    }

    /// Why it could not be applied.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Unheard | Self::Applied(_) | Self::Waits => None,
        }
    }
}

impl Failure {
    /// The rule that has failed; none where it was no rule.
    pub(super) fn rule(&self) -> Option<&str> {
        match self {
            Self::Rule(RuleError { rule, .. })
            | Self::NotLocked { rule }
            | Self::Emitted { rule, .. }
            | Self::Action { rule, .. } => Some(rule),
            Self::Payload(_) | Self::Upcast(_) | Self::Refused(_) | Self::Ended => None,
        }
    }
}

impl RuleOutcome {
    pub(super) fn acted(rule: &Rule, kind: OutcomeKind, effects: Vec<Effect>) -> Self {
        Self {
            rule: rule.name.clone(),
            kind,
            why_not: None,
            effects,
            done: Vec::new(),
        }
    }

    pub(super) fn none(rule: &Rule, why_not: WhyNot) -> Self {
        Self {
            rule: rule.name.clone(),
            kind: OutcomeKind::Event,
            why_not: Some(why_not),
            effects: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Its effects, and what has made them.
    pub(super) fn made<'a>(&'a self, event: &'a Logged) -> impl Iterator<Item = Made<'a, Effect>> {
        let effects = self.effects.iter().enumerate();
        effects.map(move |(index, effect)| Made {
            event,
            rule: &self.rule,
            index,
            effect,
        })
    }

    /// Whether it is a join that has ended before: what it made of its events is not made again.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.why_not, Some(WhyNot::HasActed | WhyNot::HasTimedOut))
    }
}

impl OutcomeKind {
    fn is_event(&self) -> bool {
        *self == Self::Event
    }
}
