//! Who is asked to come later when more comes than can be applied: those of low priority first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use crate::event::metrics::EventMetrics;
use crate::log;
use crate::postgres::Database;
use crate::source::Priority;

/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// How many events wait: as last measured, and all that this process has stored since, so that it goes on growing while it
/// cannot be measured. Clones share it.
#[derive(Clone)]
pub(crate) struct Backlog {
    waiting: Arc<AtomicU64>,
    limit: u32,
    metrics: EventMetrics,
}

impl Backlog {
    /// None yet; from `limit` on sources of normal priority are sent away, from a quarter of it on those of low.
    pub(crate) fn new(limit: u32, metrics: EventMetrics) -> Self {
        metrics.vitals.measured.done();
        Self {
            waiting: Arc::default(),
            limit,
            metrics,
        }
    }

    /// So many events were stored.
    pub(crate) fn add(&self, events: u64) {
        let before = self.waiting.fetch_add(events, Ordering::Relaxed);
        self.metrics.backlog.set((before + events).cast_signed());
    }

    /// Whether a source of this priority may add to it; `pressure` is how much of the room of what waits to be stored
    /// is taken, from 0 to 1.
    pub(crate) fn admits(&self, priority: Priority, pressure: f64) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let limit = u64::from(self.limit);
        match priority {
            Priority::High => true,
            Priority::Normal => waiting < limit && pressure < 0.75,
            Priority::Low => waiting < limit / 4 && pressure < 0.5,
        }
    }

    /// Measures it each second, until dropped.
    pub(crate) async fn measure(self, database: Database) {
        let mut sheds = false;
        loop {
            tokio::time::sleep(MEASURE).await;
            match database.within(log::lag(database.events(), self.limit)).await {
                Ok(waiting) => {
                    self.waiting.store(waiting, Ordering::Relaxed);
                    self.metrics.backlog.set(waiting.cast_signed());
                    self.metrics.vitals.measured.done();
                }
                Err(error) => info!(error = %error, "backlog not measured; trying again"),
            }
            let shed = !self.admits(Priority::Low, 0.0);
            if shed != sheds {
                let waiting = self.waiting.load(Ordering::Relaxed);
                if shed {
                    warn!(
                        waiting,
                        "too many events wait or are parked; sources of low priority are sent away"
                    )
                } else {
                    info!(waiting, "sources of low priority are taken again")
                }
                sheds = shed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn low_priority_is_sent_away_before_normal_and_high_never() {
        let backlog = Backlog::new(1_000, EventMetrics::register(&mut Registry::default()));
        let admitted = |waiting, pressure| {
            backlog.waiting.store(waiting, Ordering::Relaxed);
            [Priority::High, Priority::Normal, Priority::Low].map(|priority| backlog.admits(priority, pressure))
        };
        assert_eq!(admitted(249, 0.0), [true, true, true]);
        assert_eq!(admitted(250, 0.0), [true, true, false]);
        assert_eq!(admitted(1_000, 0.0), [true, false, false]);
        assert_eq!(admitted(0, 0.6), [true, true, false]);
        assert_eq!(admitted(0, 0.8), [true, false, false]);
        // What is stored counts before it is measured.
        assert_eq!(admitted(200, 0.0), [true, true, true]);
        backlog.add(50);
        assert!(!backlog.admits(Priority::Low, 0.0));
    }
}
