//! How long ago the things were done that are done each second: what was done long ago is not done at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The signs of life of a process's work on events; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vitals {
    /// The worker said that it lives.
    pub(crate) beat: LastDone,
    /// The backlog was measured.
    pub(crate) measured: LastDone,
}

/// When something was last done; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastDone(Arc<Mutex<Option<Instant>>>);

impl Vitals {
    /// Whether this process is to apply events and has not been able to for so long.
    pub(crate) fn is_stalled(&self, limit: Duration) -> bool {
        self.beat.age().is_some_and(|age| age >= limit)
    }
}

impl LastDone {
    /// It is done now, or to be done from now on.
    pub(crate) fn done(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago; `None` where it is not to be done.
    pub(crate) fn age(&self) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| last.elapsed())
    }
}
