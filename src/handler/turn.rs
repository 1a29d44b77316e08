//! The plain facts of a turn: its session, its time limit, and the request as it came.

use std::ops::Deref;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{FromTurn, Read, Scope};
use crate::dialogflow;
use crate::fail::Fail;
use crate::session::SessionName;

/// The conversation's full name.
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

/// How long the turn has.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    answer_by: Instant,
    handler_ends: Instant,
}

impl Deadline {
    pub(crate) fn new(answer_by: Instant, handler_ends: Instant) -> Self {
        Self {
            answer_by,
            handler_ends,
        }
    }

    /// Time left until the user hears the slow text instead of this handler's reply; zero when that has happened.
    pub fn left(&self) -> Duration {
        self.answer_by.saturating_duration_since(Instant::now())
    }

    /// When the handler itself is ended.
    pub fn handler_ends(&self) -> Instant {
        self.handler_ends
    }
}

impl FromTurn for Deadline {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(scope.deadline)
    }
}

/// The request's JSON as the platform sent it, for what [`Turn`](crate::Turn) does not show. Read anew at each use.
#[derive(Clone, Debug)]
pub struct Raw(pub Value);

impl FromTurn for Raw {
    const READS: &'static [Read] = &[Read::Request];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        dialogflow::raw(&scope.body).map(Self).map_err(Fail::bug)
    }
}
