//! Who is told that there is something to do: a set of partitions, so that many calls are one wake-up.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::event::partition::{Partitions, SharedPartitions};

/// A set of partitions that have something new; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    partitions: SharedPartitions,
    notify: Notify,
}

impl Wake {
    /// Adds partitions, and wakes who waits.
    pub(crate) fn add(&self, partitions: Partitions) {
        if !partitions.is_empty() {
            self.0.partitions.add(partitions);
            self.0.notify.notify_one();
        }
    }

    /// Waits until there are any, and takes them all. For one waiter.
    pub(crate) async fn taken(&self) -> Partitions {
        loop {
            let partitions = self.0.partitions.take();
            if !partitions.is_empty() {
                return partitions;
            }
            self.0.notify.notified().await;
        }
    }
}
