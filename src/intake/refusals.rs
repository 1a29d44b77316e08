//! What is refused, counted and logged: of each source and reason one line a second at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::event::metrics::{EventMetrics, RefusedLabel};

/// How long nothing more is said of a source and a reason.
const QUIET: Duration = Duration::from_secs(1);

/// Tells of refusals; clones share what was left out.
#[derive(Clone)]
pub(crate) struct Refusals {
    metrics: EventMetrics,
    left_out: Arc<Mutex<HashMap<RefusedLabel, LeftOut>>>,
}

/// What came since the last line of a source and a reason.
#[derive(Default)]
struct LeftOut {
    /// How often it was refused.
    times: u64,
    /// Events of requests that were read.
    events: u64,
    /// Of the last one.
    detail: String,
}

impl Refusals {
    pub(crate) fn new(metrics: EventMetrics) -> Self {
        Self {
            metrics,
            left_out: Arc::default(),
        }
    }

    /// A request of `source`, or `events` of one, are not taken. `detail` says more of why; like the reason it holds
    /// nothing of the body.
    ///
    /// The first of a kind is logged at once, those that follow within a second by one line at its end, which counts them.
    pub(crate) fn note(&self, source: &str, reason: &'static str, events: u64, detail: &str) {
        let label = RefusedLabel {
            source: source.to_owned(),
            reason,
        };
        self.metrics.refused.get_or_create(&label).inc();
        let mut all = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left_out) = all.get_mut(&label) {
            left_out.times += 1;
            left_out.events += events;
            detail.clone_into(&mut left_out.detail);
            return;
        }
        all.insert(label.clone(), LeftOut::default());
        drop(all);
        say(&label, 1, events, detail);
        tokio::spawn(self.clone().tell_rest(label));
    }

    /// Tells each second what was left out, until nothing was.
    async fn tell_rest(self, label: RefusedLabel) {
        loop {
            tokio::time::sleep(QUIET).await;
            let mut all = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(left_out) = all.get_mut(&label).map(std::mem::take) else {
                return;
            };
            if left_out.times == 0 {
                all.remove(&label);
                return;
            }
            drop(all);
            say(&label, left_out.times, left_out.events, &left_out.detail);
        }
    }
}

/// Names of properties, which a sender chooses, may stand in the detail: it is written with escapes.
fn say(label: &RefusedLabel, times: u64, events: u64, detail: &str) {
    warn!(
        source = label.source,
        reason = label.reason,
        times,
        events,
        detail = ?detail,
        "a sender was refused"
    );
}
