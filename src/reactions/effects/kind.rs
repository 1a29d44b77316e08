//! What each kind of effect says of itself. Beside this one each has a file.

use chrono::{DateTime, Utc};
use minijinja::Value as Names;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::config::NotificationSettings;
use crate::conversation::AfterCommit;
use crate::conversation::recipient::{Reaches, Recipients};
use crate::event::bad_envelope::BadEnvelope;
use crate::event::catalogue::{Catalogue, Violation};
use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::expression::EvalError;
use crate::log::Logged;
use crate::reactions::checker::Checker;
use crate::reactions::sees::Sees;

/// A kind of effect, by its value: all expressions are evaluated, and nothing has happened yet.
pub(crate) trait Kind: Sized {
    /// What stands in a rule's file.
    type File;
    /// What is made of that.
    type Action: Compiled<Effect = Self>;
    /// What came of it, as outcomes have it.
    type Done;

    /// Makes an action of what stands in the file, and notes what is wrong with it.
    fn check(written: &Self::File, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<Self::Action>;

    /// Writes all of a batch, in a number of statements that does not grow with theirs, and returns what came of each, in
    /// order. Written again, they change nothing that is newer and send nothing twice.
    async fn write(
        all: &[Made<'_, Self>],
        batch: &Batch<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<Self::Done>>;

    /// The effect as outcomes have it, on one line for people.
    fn line(effect: &Value) -> String;

    /// Whom it reaches, where that is to be looked up before it is written.
    fn reaches(&self) -> Option<Reaches<'_>> {
        None
    }

    /// Says to `known`, the facts about an entity, what it makes of them: events that follow in the batch see it.
    fn recall(&self, _entity: &str, _known: &mut Map<String, Value>) {}

    /// The event that it tells of.
    fn emitted(
        _made: &Made<'_, Self>,
        _catalogue: &Catalogue,
        _now: DateTime<Utc>,
    ) -> Result<Option<Envelope>, NotEmitted> {
        Ok(None)
    }

    /// The action written in Rust that it runs when its event is judged.
    fn runs(&self) -> Option<&str> {
        None
    }

    /// What is to be told of it after the commit.
    fn committed(_done: &Self::Done, _after: &mut AfterCommit) {}

    /// What is to be said of it when its event is explained, by the effect and what came of it, both as outcomes have them.
    fn remarks(_effect: &Value, _done: &Value) -> Vec<Remark> {
        Vec::new()
    }
}

/// An action of a rule, compiled.
pub(crate) trait Compiled {
    /// What it makes.
    type Effect;

    /// Evaluates its expressions.
    fn eval(&self, names: &Names) -> Result<Self::Effect, EvalError>;

    /// All variables it reads.
    fn paths(&self) -> Vec<String>;

    /// The type of event that it emits.
    fn emits(&self) -> Option<&str> {
        None
    }

    /// The variables that hold the secrets with which it shows who it is.
    fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// An effect, and what has made it.
#[derive(Debug)]
pub(crate) struct Made<'a, E> {
    /// The event.
    pub(crate) event: &'a Logged,
    /// The rule's name.
    pub(crate) rule: &'a str,
    /// Which of the rule's effects it is.
    pub(crate) index: usize,
    /// The effect.
    pub(crate) effect: &'a E,
}

impl<'a, E> Made<'a, E> {
    /// The same of another view of the effect.
    pub(super) fn with<F>(&self, effect: &'a F) -> Made<'a, F> {
        Made {
            event: self.event,
            rule: self.rule,
            index: self.index,
            effect,
        }
    }
}

/// What is common to the effects that are written at once.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) settings: &'a NotificationSettings,
    /// Whether later events may have been applied before.
    pub(crate) is_late: bool,
    /// Whom they reach.
    pub(super) recipients: Recipients,
}

/// What an effect tells of is no event.
#[derive(Debug, thiserror::Error)]
#[error("{event_type}{why}")]
pub(crate) struct NotEmitted {
    pub(super) event_type: EventType,
    pub(super) why: NoEvent,
}

/// Why it is none, as it is said after its type.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvent {
    #[error(" is emitted in a circle")]
    Circle,
    #[error(": {0}")]
    Payload(#[from] serde_json::Error),
    #[error(": {0}")]
    Envelope(#[from] BadEnvelope),
    #[error(": {}", all(.0))]
    Schema(Vec<Violation>),
}

/// What came of an effect with which the batch has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NotHere {
    Elsewhere,
}

/// What is to be said of an effect when its event is explained.
#[derive(Debug)]
pub(crate) struct Remark {
    /// Whether there is nobody whom it could have told.
    pub(crate) is_nobody: bool,
    /// For people.
    pub(crate) text: String,
}

/// Violations, on one line.
fn all(violations: &[Violation]) -> String {
    let each = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.pointer, violation.message));
    each.collect::<Vec<_>>().join("; ")
}
