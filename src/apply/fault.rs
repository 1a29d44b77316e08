//! Rules that fail for most of their events: a fault of the rule, which is held until it is mended.
//!
//! What a held rule fails for uses up no attempts. That it is held stands with those events, so it outlives the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::field::display;
use tracing::{error, info, warn};

use super::fate::{Fate, RuleOutcome};
use crate::event::metrics::EventMetrics;
use crate::log::Logged;

/// A rule is held when it fails for so many entities at least, and for more than it does not fail for.
const ENTITIES: usize = 5;

/// For how long it counts for which entities a rule fails: once or twice as long.
const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// Of so many entities at most.
const MOST: usize = 1_000;

/// How often one of the events that wait for a held rule is tried.
const PROBE: TimeDelta = TimeDelta::seconds(30);

/// What this process knows of rules that fail.
pub(crate) struct Faults {
    rules: Mutex<HashMap<String, Record>>,
    metrics: EventMetrics,
}

/// For which entities a rule has failed, or not failed, the last time.
#[derive(Default)]
struct Record {
    recent: HashMap<String, bool>,
    before: HashMap<String, bool>,
    since: DateTime<Utc>,
    /// When the next of its events is tried; none while it is not held.
    probe_at: Option<DateTime<Utc>>,
}

impl Faults {
    pub(crate) fn new(metrics: EventMetrics) -> Self {
        Self {
            rules: Mutex::default(),
            metrics,
        }
    }

    /// Takes note of what came of events. Returns rules that are not held any more.
    pub(super) fn note(&self, events: &[Logged], fates: &[Fate], now: DateTime<Utc>) -> Vec<String> {
        let mut rules = self.rules();
        let has_failed = |fate: &Fate| fate.failure().is_some_and(|failure| failure.rule().is_some());
        if rules.is_empty() && !fates.iter().any(has_failed) {
            return Vec::new();
        }
        let mut last_error = HashMap::new();
        for (event, fate) in events.iter().zip(fates) {
            let entity = &event.envelope.entity_id;
            match fate {
                Fate::Failed(failure) => {
                    if let Some(rule) = failure.rule() {
                        rules.entry(rule.to_owned()).or_default().add(entity, true, now);
                        last_error.insert(rule, failure);
                    }
                }
                Fate::Applied(outcomes) => {
                    for RuleOutcome { rule, .. } in outcomes {
                        if let Some(record) = rules.get_mut(rule) {
                            record.add(entity, false, now);
                        }
                    }
                }
                Fate::Unheard | Fate::Waits => {}
            }
        }
        let mut released = Vec::new();
        for (rule, record) in rules.iter_mut() {
            let (failed, passed) = record.count();
            let is_held = record.probe_at.is_some();
            if !is_held && failed >= ENTITIES && failed > passed {
                record.probe_at = Some(now + PROBE);
                self.metrics.hold(rule);
                let error = last_error.get(rule.as_str()).map(display);
                error!(
                    rule,
                    entities = failed,
                    error,
                    "rule is held: it fails for most of its events, which wait until it is mended"
                );
            } else if is_held && passed >= ENTITIES && passed > failed {
                released.push(rule.clone());
            }
        }
        for rule in &released {
            self.forget(&mut rules, rule);
        }
        rules.retain(|_, record| record.probe_at.is_some() || record.count().0 > 0);
        released
    }

    /// Whether a rule is held.
    pub(super) fn holds(&self, rule: &str) -> bool {
        self.rules().get(rule).is_some_and(|record| record.probe_at.is_some())
    }

    /// A rule is held, as events that wait for it say.
    pub(super) fn restore(&self, rule: &str, now: DateTime<Utc>) {
        let mut rules = self.rules();
        let record = rules.entry(rule.to_owned()).or_default();
        if record.probe_at.is_none() {
            record.probe_at = Some(now + PROBE);
            self.metrics.hold(rule);
            warn!(rule, "rule is still held; its events wait until it is mended");
        }
    }

    /// An event was applied that a rule had failed for. Returns whether the rule was held.
    pub(super) fn mended(&self, rule: &str) -> bool {
        let mut rules = self.rules();
        self.forget(&mut rules, rule)
    }

    /// The rules have changed: each begins anew.
    pub(crate) fn clear(&self) {
        let mut rules = self.rules();
        let all: Vec<String> = rules.keys().cloned().collect();
        for rule in all {
            self.forget(&mut rules, &rule);
        }
    }

    /// Rules of which an event is to be tried now.
    pub(crate) fn to_probe(&self, now: DateTime<Utc>) -> Vec<String> {
        let mut rules = self.rules();
        let due = rules.iter_mut().filter_map(|(rule, record)| {
            let probe_at = record.probe_at.as_mut().filter(|at| **at <= now)?;
            *probe_at = now + PROBE;
            Some(rule.clone())
        });
        due.collect()
    }

    fn forget(&self, rules: &mut HashMap<String, Record>, rule: &str) -> bool {
        let was_held = rules.remove(rule).is_some_and(|record| record.probe_at.is_some());
        if was_held {
            self.metrics.release(rule);
            info!(
                rule,
                "rule is not held any more; the events that waited for it are applied"
            );
        }
        was_held
    }

    fn rules(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, entity: &str, has_failed: bool, now: DateTime<Utc>) {
        if self.recent.len() >= MOST || now - self.since > WINDOW {
            self.before = std::mem::take(&mut self.recent);
            if now - self.since > WINDOW * 2 {
                self.before.clear();
            }
            self.since = now;
        }
        self.recent.insert(entity.to_owned(), has_failed);
    }

    /// For how many entities it has failed, and not failed.
    fn count(&self) -> (usize, usize) {
        let before = self
            .before
            .iter()
            .filter(|(entity, _)| !self.recent.contains_key(*entity));
        let all = before.chain(&self.recent);
        let failed = all.clone().filter(|(_, has_failed)| **has_failed).count();
        (failed, all.count() - failed)
    }
}
