//! What is counted about events.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::standing::Standing;
use super::vitals::{LastDone, Vitals};

/// The metrics of events; clones share them.
#[derive(Clone)]
pub(crate) struct EventMetrics {
    /// Events that came, by source.
    pub(crate) received: Family<SourceLabel, Counter>,
    /// Events that were stored, by source.
    pub(crate) new: Family<SourceLabel, Counter>,
    /// Events that were there already, by source.
    pub(crate) duplicate: Family<SourceLabel, Counter>,
    /// Events that are kept in quarantine, by source.
    pub(crate) quarantined: Family<SourceLabel, Counter>,
    /// Requests and events that were refused, by source and reason.
    refused: Family<RefusedLabel, Counter>,
    /// Requests that were signed by a secret other than the first, by source.
    pub(crate) old_secret: Family<SourceLabel, Counter>,
    /// Events that were applied.
    pub(crate) applied: Counter,
    /// Attempts that failed and are made again.
    pub(crate) retried: Counter,
    /// Events that became dead letters.
    pub(crate) dead: Counter,
    /// Rules that are held: 1 each.
    held: Family<RuleLabel, Gauge>,
    /// Events that wait to be applied, estimated when many do.
    pub(crate) backlog: Gauge,
    /// Partitions that this process applies.
    pub(crate) leases: Gauge,
    /// What stands in the tables.
    pub(crate) standing: Standing,
    /// Signs of life.
    pub(crate) vitals: Vitals,
    beat_age: Age,
    measured_age: Age,
    store: Histogram,
    apply: Histogram,
}

/// How long ago something was done, in seconds; 0 where it is not to be done.
type Age = Gauge<f64, AtomicU64>;

/// Which source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SourceLabel {
    /// Name of its file; `(unknown)` where there is none.
    pub(crate) source: String,
}

/// Which source, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    /// Name of its file; `(unknown)` where there is none.
    source: String,
    /// The code that the sender is told.
    reason: &'static str,
}

/// Which rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RuleLabel {
    /// Name of its file.
    pub(crate) rule: String,
}

impl EventMetrics {
    /// Makes them part of `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            received: Family::default(),
            new: Family::default(),
            duplicate: Family::default(),
            quarantined: Family::default(),
            refused: Family::default(),
            old_secret: Family::default(),
            applied: Counter::default(),
            retried: Counter::default(),
            dead: Counter::default(),
            held: Family::default(),
            backlog: Gauge::default(),
            leases: Gauge::default(),
            standing: Standing::register(registry),
            vitals: Vitals::default(),
            beat_age: Age::default(),
            measured_age: Age::default(),
            store: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            apply: Histogram::new(exponential_buckets(0.001, 2.0, 20)),
        };
        let m = &metrics;
        registry.register("events_received", "Events that came", m.received.clone());
        registry.register("events_stored", "Events that were stored", m.new.clone());
        registry.register(
            "events_duplicate",
            "Events that were there already",
            m.duplicate.clone(),
        );
        registry.register(
            "events_quarantined",
            "Events that do not fit their schema, or cannot be read, and are kept in quarantine",
            m.quarantined.clone(),
        );
        registry.register(
            "events_refused",
            "Requests and events that were refused",
            m.refused.clone(),
        );
        registry.register(
            "events_old_secret",
            "Requests signed by a secret that is not the source's first",
            m.old_secret.clone(),
        );
        registry.register("events_applied", "Events that were applied", m.applied.clone());
        registry.register(
            "events_retried",
            "Attempts that failed and are made again",
            m.retried.clone(),
        );
        registry.register("events_dead", "Events that became dead letters", m.dead.clone());
        registry.register(
            "rules_held",
            "Rules that fail for most of their events, which wait until they are mended",
            m.held.clone(),
        );
        registry.register(
            "events_backlog",
            "Events that wait to be applied, estimated when many do",
            m.backlog.clone(),
        );
        registry.register(
            "events_leases",
            "Partitions that this process applies; of all processes together 32",
            m.leases.clone(),
        );
        registry.register_with_unit(
            "events_beat_age",
            "Since the worker last said that it lives; 0 where this process applies no events",
            Unit::Seconds,
            m.beat_age.clone(),
        );
        registry.register_with_unit(
            "events_backlog_age",
            "Since events_backlog was last measured; what this process has stored since is counted",
            Unit::Seconds,
            m.measured_age.clone(),
        );
        let (store, apply) = (m.store.clone(), m.apply.clone());
        registry.register_with_unit(
            "events_store_duration",
            "Time from when a request's events are checked until they are durable",
            Unit::Seconds,
            store,
        );
        registry.register_with_unit(
            "events_apply_delay",
            "From receipt to application",
            Unit::Seconds,
            apply,
        );
        metrics
    }

    /// A request or an event of a source was refused.
    pub(crate) fn refused(&self, source: &str, reason: &'static str) {
        let source = source.to_owned();
        self.refused.get_or_create(&RefusedLabel { source, reason }).inc();
    }

    /// Brings the ages up to date, before they are read.
    pub(crate) fn grow_older(&self) {
        let seconds = |last: &LastDone| last.age().unwrap_or_default().as_secs_f64();
        self.beat_age.set(seconds(&self.vitals.beat));
        self.measured_age.set(seconds(&self.vitals.measured));
        self.standing.grow_older();
    }

    /// The events of a request are durable, so long after they were checked.
    pub(crate) fn stored(&self, elapsed: Duration) {
        self.store.observe(elapsed.as_secs_f64());
    }

    /// A rule is held from now on.
    pub(crate) fn hold(&self, rule: &str) {
        self.held.get_or_create(&RuleLabel { rule: rule.to_owned() }).set(1);
    }

    /// A rule is not held any more.
    pub(crate) fn release(&self, rule: &str) {
        self.held.remove(&RuleLabel { rule: rule.to_owned() });
    }

    /// An event was applied so long after it came.
    pub(crate) fn applied_after(&self, delay: TimeDelta) {
        self.applied.inc();
        self.apply.observe(delay.as_seconds_f64().max(0.0));
    }
}
