//! Who is told that there is something to do: partitions as bits, so that many calls are one wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// A set of partitions that have something new; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    partitions: AtomicU32,
    notify: Notify,
}

impl Wake {
    /// Adds partitions, as bits, and wakes who waits.
    pub(crate) fn add(&self, partitions: u32) {
        if partitions != 0 {
            self.0.partitions.fetch_or(partitions, Ordering::AcqRel);
            self.0.notify.notify_one();
        }
    }

    /// Waits until there are any, and takes them all. For one waiter.
    pub(crate) async fn taken(&self) -> u32 {
        loop {
            let partitions = self.0.partitions.swap(0, Ordering::AcqRel);
            if partitions != 0 {
                return partitions;
            }
            self.0.notify.notified().await;
        }
    }
}
