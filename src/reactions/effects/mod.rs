//! What rules can do: a file for each kind of effect, and the list of them.

pub(crate) mod call;
pub(crate) mod emit;
pub(crate) mod goto;
mod kind;
mod list;
pub(crate) mod notify;
pub(crate) mod remember;
pub(crate) mod run;
mod text;
mod to;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use minijinja::Value as Names;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use self::kind::{Batch, Compiled as _, Kind};
pub(crate) use self::kind::{Made, NotEmitted, Remark};
use super::checker::Checker;
use super::sees::Sees;
use crate::config::NotificationSettings;
use crate::conversation::AfterCommit;
use crate::conversation::recipient::{Reaches, Recipients};
use crate::event::catalogue::Catalogue;
use crate::event::envelope::Envelope;
use crate::expression::EvalError;

// A name in a rule's file and in outcomes is that of the file here. In this order they are written, and told of.
list::effects! {
    remember::Remember,
    notify::Notify,
    goto::Goto,
    call::Call,
    emit::Emit,
    run::Run,
}

/// Writes effects, each kind in a number of statements that does not grow with theirs. Written again, they change nothing
/// that is newer and send nothing twice.
///
/// `is_late` says that they are written for the first time, though later events may have been applied before.
///
/// # Errors
/// When the database refuses; the transaction is then of no more use.
pub(crate) async fn write(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    settings: &NotificationSettings,
    all: &[Made<'_, Effect>],
    is_late: bool,
) -> sqlx::Result<Vec<Done>> {
    let reached = all.iter().filter_map(|made| made.effect.reaches());
    let batch = Batch {
        now,
        settings,
        is_late,
        recipients: Recipients::find(connection, reached).await?,
    };
    write_each(all, &batch, connection).await
}
