//! A turn that is to be answered, and whom it asks.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bot::Intent;
use crate::idempotency::key::TurnKey;
use crate::lang::Lang;
use crate::turn::Turn;

/// A turn that is to be answered.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) turn: Arc<Turn>,
    /// The request that it came in.
    pub(super) body: Bytes,
    pub(super) intent: Arc<Intent>,
    pub(super) key: TurnKey,
    pub(super) arrived: Instant,
    pub(super) answer_by: Instant,
}

impl Asked {
    pub(super) fn lang(&self) -> Lang {
        Lang::new(self.turn.language.as_str())
    }
}
