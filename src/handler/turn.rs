//! The plain facts of a turn: its session, its time limit, and the request as it came.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{FromTurn, Read, Scope};
use crate::fail::Fail;
use crate::platform;
use crate::session::SessionName;

/// The conversation's full name.
///
/// ```
/// use rejoinder::{Fail, Reply, Session};
///
/// async fn where_am_i(Session(session): Session) -> Result<Reply, Fail> {
///     Ok(Reply::text(session.as_str()))
/// }
/// # rejoinder::Bot::new().intent("Where Am I", where_am_i).check().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session(pub SessionName);

impl Deref for Session {
    type Target = SessionName;

    fn deref(&self) -> &SessionName {
        &self.0
    }
}

impl FromTurn for Session {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(Self(scope.turn.session.clone()))
    }
}

/// Until when somebody waits for a handler's reply: longer where another asks the same meanwhile. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Awaited(Arc<watch::Sender<Instant>>);

impl Default for Awaited {
    /// Nobody waits yet.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now())))
    }
}

impl Awaited {
    pub(crate) fn until(&self) -> Instant {
        *self.0.borrow()
    }

    pub(crate) fn extend(&self, until: Instant) {
        self.0.send_if_modified(|last| {
            let is_longer = until > *last;
            *last = until.max(*last);
            is_longer
        });
    }

    /// Tells when it becomes longer.
    pub(super) fn changes(&self) -> watch::Receiver<Instant> {
        self.0.subscribe()
    }
}

/// How long the turn has.
///
/// ```
/// use rejoinder::{Deadline, Fail, Reply};
///
/// async fn patient(deadline: Deadline) -> Result<Reply, Fail> {
///     Ok(Reply::text(format!("I have {} ms.", deadline.left().as_millis())))
/// }
/// # rejoinder::Bot::new().intent("Patient", patient).check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Deadline {
    awaited: Awaited,
    handler_ends: Instant,
}

impl Deadline {
    pub(crate) fn new(awaited: Awaited, handler_ends: Instant) -> Self {
        Self { awaited, handler_ends }
    }

    /// Time left until the user hears the slow text instead of this handler's reply; zero when that has happened, until
    /// they ask the same again.
    pub fn left(&self) -> Duration {
        self.awaited.until().saturating_duration_since(Instant::now())
    }

    pub(super) fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// When the handler itself is ended.
    pub fn handler_ends(&self) -> Instant {
        self.handler_ends
    }
}

impl FromTurn for Deadline {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(scope.deadline.clone())
    }
}

/// The request's JSON as the platform sent it, for what [`Turn`](crate::Turn) does not show. Read anew at each use.
///
/// ```
/// use rejoinder::{Fail, Raw, Reply};
///
/// async fn confident(Raw(turn): Raw) -> Result<Reply, Fail> {
///     Ok(Reply::text(turn["queryResult"]["intentDetectionConfidence"].to_string()))
/// }
/// # rejoinder::Bot::new().intent("Confident", confident).check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Raw(pub Value);

impl FromTurn for Raw {
    const READS: &'static [Read] = &[Read::Request];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        platform::raw(&scope.body).map(Self).map_err(Fail::bug)
    }
}
