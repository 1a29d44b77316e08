//! Who is asked to come later when more comes than can be applied: those of low priority first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tracing::{info, warn};

use super::log;
use super::metrics::EventMetrics;
use super::source::Priority;

/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// When a sender that is sent away should come again, in seconds.
pub(crate) const RETRY_AFTER_S: u32 = 10;

/// How many events wait; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Backlog {
    waiting: Arc<AtomicU64>,
    limit: u32,
}

impl Backlog {
    /// None yet; from `limit` on sources of normal priority are sent away, from a quarter of it on those of low.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            waiting: Arc::default(),
            limit,
        }
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
    pub(crate) async fn measure(self, pool: PgPool, metrics: EventMetrics) {
        let mut sheds = false;
        loop {
            tokio::time::sleep(MEASURE).await;
            match log::lag(&pool, self.limit).await {
                Ok(waiting) => {
                    self.waiting.store(waiting, Ordering::Relaxed);
                    metrics.backlog.set(waiting.cast_signed());
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
    use super::*;

    #[test]
    fn low_priority_is_sent_away_before_normal_and_high_never() {
        let backlog = Backlog::new(1_000);
        let admitted = |waiting, pressure| {
            backlog.waiting.store(waiting, Ordering::Relaxed);
            [Priority::High, Priority::Normal, Priority::Low].map(|priority| backlog.admits(priority, pressure))
        };
        assert_eq!(admitted(249, 0.0), [true, true, true]);
        assert_eq!(admitted(250, 0.0), [true, true, false]);
        assert_eq!(admitted(1_000, 0.0), [true, false, false]);
        assert_eq!(admitted(0, 0.6), [true, true, false]);
        assert_eq!(admitted(0, 0.8), [true, false, false]);
    }
}
