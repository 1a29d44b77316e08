//! Events of a partition that are applied in one transaction, and all that comes of them.

mod judge;
mod park;
mod time_out;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tracing::{Instrument as _, Span, debug, info_span, warn};

use super::applier::{Applier, Halt, Kind, Lane};
use super::fate::{Failure, Fate};
use super::step::Step;
use crate::apply::join::{self, Join};
use crate::apply::outcome;
use crate::conversation;
use crate::event::envelope::Envelope;
use crate::event::position::Position;
use crate::log::Logged;
use crate::reactions::effects::{self, Done, Made, emit};
use crate::reactions::{Rule, Scope, Trigger};
use crate::rulebook::Edition;
use crate::telemetry::traces;

/// One transaction's worth of events.
pub(super) struct Batch<'a> {
    applier: &'a Applier,
    step: Step,
    kind: Kind,
    events: &'a [Logged],
    book: Arc<Edition>,
    now: DateTime<Utc>,
    /// By position, how often events that are retried have been tried before.
    attempts: HashMap<Position, i32>,
    /// Of each event, in order.
    fates: Vec<Fate>,
    /// Of the events that have failed, in order.
    failing: Vec<Span>,
    /// By rule and key, locked until the commit.
    joins: BTreeMap<(String, String), Join>,
    /// What is known of entities; only where a rule asks for it.
    memory: HashMap<String, Map<String, Value>>,
    /// Events that rules emit.
    emitted: Vec<Envelope>,
    /// Positions and rules that have acted before; only where events are replayed.
    acted: HashSet<(Position, String)>,
}

/// An event that rules listen to.
struct Heard {
    rules: Vec<Arc<Rule>>,
    /// In the newest version of its schema.
    payload: Value,
    version: u32,
}

impl<'a> Batch<'a> {
    /// Begins one of events as they are in the log. `attempts` says, by position, how often they have been tried before.
    pub(super) async fn begin(
        applier: &'a Applier,
        lane: &Lane,
        events: &'a [Logged],
        kind: Kind,
        attempts: HashMap<Position, i32>,
    ) -> Result<Self, Halt> {
        let now = applier.clock.now();
        let new = match kind {
            Kind::New => events,
            // They were durable long ago.
            Kind::Retry | Kind::Replay { .. } | Kind::TimeOut => &[],
        };
        let mut batch = Self::of(applier, Step::begin(applier, lane, new, now).await?, events, kind, now);
        batch.attempts = attempts;
        if let Kind::Replay { .. } = kind {
            batch.acted = outcome::acted(batch.step.connection()?, events).await?;
        }
        Ok(batch)
    }

    fn of(applier: &'a Applier, step: Step, events: &'a [Logged], kind: Kind, now: DateTime<Utc>) -> Self {
        Self {
            applier,
            step,
            kind,
            events,
            book: applier.rulebook.edition(),
            now,
            attempts: HashMap::new(),
            fates: Vec::with_capacity(events.len()),
            failing: Vec::new(),
            joins: BTreeMap::new(),
            memory: HashMap::new(),
            emitted: Vec::new(),
            acted: HashSet::new(),
        }
    }

    /// Ends it for its one event, which cannot be applied.
    pub(super) async fn fail(mut self, lane: &mut Lane, why: Failure) -> Result<Vec<Fate>, Halt> {
        self.fates = vec![Fate::Failed(why)];
        self.finish(lane).await
    }

    /// Decides each event's fate, in order.
    pub(super) async fn decide(&mut self, lane: &Lane) -> Result<(), Halt> {
        let mut held_up: HashSet<&str> = HashSet::new();
        let heard: Vec<Result<Option<Heard>, Failure>> = self.events.iter().map(|event| self.hear(event)).collect();
        self.recall(&heard).await?;
        self.lock_joins(lane, &heard).await?;
        for (event, heard) in self.events.iter().zip(heard) {
            let entity = event.envelope.entity_id.as_str();
            let is_behind = match self.kind {
                Kind::New => lane.parked.contains(entity) || held_up.contains(entity),
                Kind::Retry => held_up.contains(entity),
                Kind::Replay { .. } | Kind::TimeOut => false,
            };
            if is_behind {
                self.fates.push(Fate::Waits);
                continue;
            }
            let span = info_span!(
                "apply",
                event.id = event.envelope.event_id.as_str(),
                event.type = event.envelope.event_type.as_str(),
                entity.id = entity,
                traceparent = event.envelope.traceparent,
            );
            traces::follow(&span, || event.envelope.traceparent.as_deref());
            let fate = match heard {
                Ok(None) => Fate::Unheard,
                Ok(Some(heard)) => self.judge(event, &heard).instrument(span.clone()).await?,
                Err(failure) => Fate::Failed(failure),
            };
            match &fate {
                Fate::Failed(_) => {
                    self.failing.push(span);
                    held_up.insert(entity);
                }
                Fate::Unheard | Fate::Applied(_) | Fate::Waits => span.in_scope(|| debug!("applied")),
            }
            self.fates.push(fate);
        }
        Ok(())
    }

    /// Which rules listen to an event.
    fn hear(&self, event: &Logged) -> Result<Option<Heard>, Failure> {
        let envelope = &event.envelope;
        let rules: Vec<Arc<Rule>> = self.book.rules.listening(&envelope.event_type).cloned().collect();
        if rules.is_empty() || event.is_erased {
            return Ok(None);
        }
        let payload = serde_json::from_str(envelope.payload.get())?;
        let (version, payload) = self
            .book
            .catalogue
            .upcast(&envelope.event_type, envelope.schema_version, payload)?;
        Ok(Some(Heard {
            rules,
            payload,
            version,
        }))
    }

    /// What the expressions of rules see of an event.
    fn scope(&self, event: &Logged, heard: &Heard) -> Scope {
        let scope = Scope::of_event(&event.envelope, &heard.payload);
        if !heard.rules.iter().any(|rule| rule.uses_memory()) {
            return scope;
        }
        let known = self.memory.get(event.envelope.entity_id.as_str());
        scope.with_memory(known.cloned().unwrap_or_default())
    }

    /// Reads what is known of the entities of events whose rules ask for it.
    async fn recall(&mut self, heard: &[Result<Option<Heard>, Failure>]) -> sqlx::Result<()> {
        let asks = |heard: &Result<Option<Heard>, Failure>| matches!(heard, Ok(Some(heard)) if heard.rules.iter().any(|rule| rule.uses_memory()));
        let asking = self.events.iter().zip(heard).filter(|(_, heard)| asks(heard));
        let entities: HashSet<String> = asking.map(|(event, _)| event.envelope.entity_id.to_string()).collect();
        if !entities.is_empty() {
            let entities: Vec<String> = entities.into_iter().collect();
            self.memory = conversation::fact::about_entities(self.step.connection()?, &entities).await?;
            for entity in entities {
                self.memory.entry(entity).or_default();
            }
        }
        Ok(())
    }

    /// Opens and locks the joins that these events take part in.
    async fn lock_joins(&mut self, lane: &Lane, heard: &[Result<Option<Heard>, Failure>]) -> sqlx::Result<()> {
        let mut openings = BTreeMap::new();
        for (event, heard) in self.events.iter().zip(heard) {
            let Ok(Some(heard)) = heard else { continue };
            let scope = self.scope(event, heard);
            for rule in &heard.rules {
                let Trigger::Join(join) = &rule.trigger else { continue };
                // One that has no key fails when it is judged.
                if let Ok(Some(key)) = rule.key(&scope) {
                    let deadline = match self.kind {
                        Kind::Replay { .. } => join::NEVER,
                        Kind::New | Kind::Retry | Kind::TimeOut => join::deadline(event, join.within, self.now),
                    };
                    openings.entry((rule.name.clone(), key)).or_insert(deadline);
                }
            }
        }
        let joins = join::lock(self.step.connection()?, lane.partition, &openings, self.now).await?;
        for join in joins {
            self.keep(join);
        }
        Ok(())
    }

    fn keep(&mut self, join: Join) {
        self.joins.insert((join.rule.clone(), join.key.clone()), join);
    }

    /// Writes everything and commits. Events that rules emit are written last: that locks the log until the commit.
    pub(super) async fn finish(mut self, lane: &mut Lane) -> Result<Vec<Fate>, Halt> {
        let released = match self.kind {
            Kind::New | Kind::Retry => self.applier.faults.note(self.events, &self.fates, self.now),
            Kind::Replay { .. } | Kind::TimeOut => Vec::new(),
        };
        self.tell_failures();
        self.write_effects().await?;
        join::save(self.step.connection()?, self.joins.values(), self.now).await?;
        let fates = self.events.iter().zip(&self.fates);
        outcome::write(self.step.connection()?, fates, self.now).await?;
        let parked = self.park(lane).await?;
        emit::append(self.step.connection()?, &self.emitted, self.now).await?;
        if matches!(self.kind, Kind::Replay { dry_run: true }) {
            self.step.rollback().await?;
            return Ok(self.fates);
        }
        self.step.commit(lane).await?;
        for rule in &released {
            self.applier.release(rule).await?;
        }
        self.count(parked.died);
        parked.learn(lane);
        let done: Vec<Done> = self.fates.iter().flat_map(Fate::done).cloned().collect();
        self.applier.tell(&self.emitted, &done).await;
        Ok(self.fates)
    }

    async fn write_effects(&mut self) -> sqlx::Result<()> {
        let outcomes = || {
            let fates = self.events.iter().zip(&self.fates);
            fates.flat_map(|(event, fate)| fate.outcomes().iter().map(move |outcome| (event, outcome)))
        };
        let made: Vec<Made<'_, _>> = outcomes().flat_map(|(event, outcome)| outcome.made(event)).collect();
        if made.is_empty() {
            return Ok(());
        }
        let settings = &self.applier.notifications;
        let is_late = self.kind == Kind::Retry;
        let mut done = effects::write(self.step.connection()?, self.now, settings, &made, is_late)
            .await?
            .into_iter();
        for fate in &mut self.fates {
            let Fate::Applied(outcomes) = fate else { continue };
            for outcome in outcomes {
                outcome.done = done.by_ref().take(outcome.effects.len()).collect();
            }
        }
        Ok(())
    }

    /// Logs each event that has failed, unless its rule is held: that has been told once.
    fn tell_failures(&self) {
        let failures = self.fates.iter().filter_map(Fate::failure);
        for (failure, span) in failures.zip(&self.failing) {
            if self.is_held(failure) {
                span.in_scope(|| debug!(error = %failure, "event waits for its rule"));
            } else {
                span.in_scope(|| warn!(error = %failure, "event not applied"));
            }
        }
    }

    fn is_held(&self, failure: &Failure) -> bool {
        failure.rule().is_some_and(|rule| self.applier.faults.holds(rule))
    }

    fn count(&self, died: u64) {
        if let Kind::Replay { .. } | Kind::TimeOut = self.kind {
            return;
        }
        let metrics = &self.applier.metrics;
        let mut failed = 0;
        for (event, fate) in self.events.iter().zip(&self.fates) {
            match fate {
                Fate::Waits => {}
                Fate::Unheard | Fate::Applied(_) => metrics.applied_after(self.now - event.received_at),
                Fate::Failed(_) => failed += 1,
            }
        }
        metrics.dead.inc_by(died);
        metrics.retried.inc_by(failed - died);
    }
}
