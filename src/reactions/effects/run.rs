//! `run`: an action that is written in Rust, in the transaction of its event.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use minijinja::Value as Names;
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use toml::Spanned;

use super::kind::{Batch, Compiled, Kind, Made, NotHere};
use super::text::text;
use crate::expression::EvalError;
use crate::handler::Tx;
use crate::handler::reaction::{Actions, Event};
use crate::log::Logged;
use crate::nearest::did_you_mean;
use crate::reactions::checker::Checker;
use crate::reactions::sees::Sees;

/// How long an action written in Rust may take.
const ACTION_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct RunAction {
    name: String,
}

/// Runs an action that is written in Rust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Run {
    /// The name it is registered under.
    pub(crate) name: String,
}

impl Kind for Run {
    type File = Spanned<String>;
    type Action = RunAction;
    type Done = NotHere;

    fn check(written: &Spanned<String>, checker: &mut Checker<'_>, _: &Sees<'_>) -> Option<RunAction> {
        let names = checker.known.run_names;
        let meant = did_you_mean(written.get_ref(), names.iter().copied());
        let expected = match names {
            [] => "an action of the bot, which has none".to_owned(),
            names => format!("an action of the bot ({}){meant}", names.join(", ")),
        };
        let name = checker.literal(written, |name| names.contains(&name), &expected)?;
        Some(RunAction { name })
    }

    /// Nothing: it has been [`run`] when its event was judged.
    async fn write(all: &[Made<'_, Self>], _: &Batch<'_>, _: &mut PgConnection) -> sqlx::Result<Vec<NotHere>> {
        Ok(vec![NotHere::Elsewhere; all.len()])
    }

    fn line(effect: &Value) -> String {
        format!("run {}", text(effect, "name"))
    }

    fn runs(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Compiled for RunAction {
    type Effect = Run;

    fn eval(&self, _: &Names) -> Result<Run, EvalError> {
        Ok(Run {
            name: self.name.clone(),
        })
    }

    fn paths(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why an action that is written in Rust was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActionError {
    #[error("there is no action {name:?}")]
    Unknown { name: String },
    #[error("action {name}: {error:#}")]
    Failed { name: String, error: anyhow::Error },
    #[error("action {name} panicked")]
    Panicked { name: String },
    #[error("action {name} took longer than {} s", ACTION_LIMIT.as_secs())]
    TooSlow { name: String },
}

/// Runs an action that is written in Rust. `payload` is the event's, in the newest version.
///
/// # Errors
/// When the connection is gone.
pub(crate) async fn run(
    actions: &Actions,
    name: &str,
    event: &Logged,
    payload: Value,
    transaction: Transaction<'static, Postgres>,
) -> sqlx::Result<(Result<(), ActionError>, Transaction<'static, Postgres>)> {
    let Some(action) = actions.get(name) else {
        return Ok((Err(ActionError::Unknown { name: name.to_owned() }), transaction));
    };
    let (tx, home) = Tx::around(transaction);
    let event = event_of(event, payload);
    let running = AssertUnwindSafe(async { action(event, tx).await }).catch_unwind();
    let done = match tokio::time::timeout(ACTION_LIMIT, running).await {
        Ok(Ok(done)) => done.map_err(|error| ActionError::Failed {
            name: name.to_owned(),
            error,
        }),
        Ok(Err(_)) => Err(ActionError::Panicked { name: name.to_owned() }),
        Err(_) => Err(ActionError::TooSlow { name: name.to_owned() }),
    };
    // An action that keeps its transaction for itself has kept the connection, too.
    let transaction = home.take().ok_or(sqlx::Error::WorkerCrashed)?;
    Ok((done, transaction.into_inner()))
}

fn event_of(event: &Logged, payload: Value) -> Event {
    let envelope = &event.envelope;
    Event {
        source: envelope.source.to_string(),
        event_id: envelope.event_id.to_string(),
        event_type: envelope.event_type.to_string(),
        entity_id: envelope.entity_id.to_string(),
        user_id: envelope.user_id.clone().map(String::from),
        timestamp: envelope.timestamp,
        payload,
    }
}
