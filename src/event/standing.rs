//! What stands in the tables and waits for something, as it was last measured.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::vitals::LastDone;

/// The gauges of what waits; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    oldest_unapplied: Gauge<f64, AtomicU64>,
    parked: Gauge,
    dead: Gauge,
    quarantined: Family<KindLabel, Gauge>,
    outbox: Family<OutboxLabel, Gauge>,
    oldest_due: Gauge<f64, AtomicU64>,
    age: Gauge<f64, AtomicU64>,
    measured: LastDone,
}

/// What was counted. Counts go no further than 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// How long ago the oldest event came that is not applied, in seconds; 0: all are.
    pub(crate) oldest_unapplied_s: f64,
    /// Events that wait to be tried again.
    pub(crate) parked: i64,
    /// Dead letters.
    pub(crate) dead: i64,
    /// Events in quarantine.
    pub(crate) quarantined_events: i64,
    /// Requests in quarantine.
    pub(crate) quarantined_requests: i64,
    /// Messages for chat windows that are pending, and that are held.
    pub(crate) chat: (i64, i64),
    /// Requests that are pending, and that are held.
    pub(crate) requests: (i64, i64),
    /// For how long the oldest has been due of what is to go out, in seconds; 0: nothing is.
    pub(crate) oldest_due_s: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutboxLabel {
    kind: &'static str,
    state: &'static str,
}

impl Standing {
    /// Makes them part of `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let standing = Self::default();
        let s = &standing;
        registry.register_with_unit(
            "events_oldest_age",
            "Since the oldest event came that is not applied, parked ones too; 0 where all are",
            Unit::Seconds,
            s.oldest_unapplied.clone(),
        );
        registry.register(
            "events_parked",
            "Events that wait to be tried again, counted up to 10000",
            s.parked.clone(),
        );
        registry.register(
            "dead_letters",
            "Events that were given up and wait for somebody, counted up to 10000",
            s.dead.clone(),
        );
        registry.register(
            "quarantine",
            "Events and requests in quarantine, counted up to 10000",
            s.quarantined.clone(),
        );
        registry.register(
            "outbox",
            "Chat messages and requests that are to go out, by state, counted up to 10000",
            s.outbox.clone(),
        );
        registry.register_with_unit(
            "outbox_oldest_age",
            "For how long the oldest has been due of what is to go out; 0 where nothing is",
            Unit::Seconds,
            s.oldest_due.clone(),
        );
        registry.register_with_unit(
            "standing_age",
            "Since what stands in the tables was last counted",
            Unit::Seconds,
            s.age.clone(),
        );
        standing
    }

    /// It has been counted now.
    pub(crate) fn set(&self, counted: &Counted) {
        self.oldest_unapplied.set(counted.oldest_unapplied_s);
        self.parked.set(counted.parked);
        self.dead.set(counted.dead);
        let quarantined = [
            ("event", counted.quarantined_events),
            ("request", counted.quarantined_requests),
        ];
        for (kind, count) in quarantined {
            self.quarantined.get_or_create(&KindLabel { kind }).set(count);
        }
        for (kind, (pending, held)) in [("chat", counted.chat), ("request", counted.requests)] {
            for (state, count) in [("pending", pending), ("held", held)] {
                self.outbox.get_or_create(&OutboxLabel { kind, state }).set(count);
            }
        }
        self.oldest_due.set(counted.oldest_due_s);
        self.measured.done();
    }

    /// Brings the age up to date, before it is read.
    pub(super) fn grow_older(&self) {
        self.age.set(self.measured.age().unwrap_or_default().as_secs_f64());
    }
}
