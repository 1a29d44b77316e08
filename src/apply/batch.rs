//! One transaction of a partition.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{Postgres, Transaction};
use tracing::{Instrument as _, Span, debug, info_span, warn};

use super::applier::{Applier, Halt, Kind, Lane};
use super::fate::{Failure, Fate};
use crate::apply::join::{self, Join};
use crate::apply::outcome;
use crate::conversation;
use crate::event::envelope::Envelope;
use crate::log::cursor::Cursor;
use crate::log::parked::{self, Failed, MAX_ATTEMPTS};
use crate::log::{self, Logged, dead};
use crate::reactions::effects::{self, Done, emit};
use crate::reactions::{Rule, Scope, Trigger};
use crate::rulebook::Edition;

/// One transaction's worth of events.
pub(super) struct Batch<'a> {
    pub(super) applier: &'a Applier,
    pub(super) book: Arc<Edition>,
    pub(super) cursor: Cursor,
    pub(super) kind: Kind,
    /// By position, how often events that are retried have been tried before.
    attempts: HashMap<i64, i32>,
    pub(super) now: DateTime<Utc>,
    pub(super) events: &'a [Logged],
    pub(super) fates: Vec<Fate>,
    /// Of the events that have failed, in order.
    failing: Vec<Span>,
    pub(super) joins: BTreeMap<(String, String), Join>,
    /// What is known of entities; only where a rule asks for it.
    pub(super) memory: HashMap<String, Map<String, Value>>,
    /// Events that rules emit.
    pub(super) emitted: Vec<Envelope>,
    /// Positions and rules that have acted before; only where events are replayed.
    pub(super) acted: HashSet<(i64, String)>,
}

/// An event that rules listen to.
pub(super) struct Heard {
    pub(super) rules: Vec<Arc<Rule>>,
    /// In the newest version of its schema.
    pub(super) payload: Value,
    pub(super) version: u32,
}

impl<'a> Batch<'a> {
    pub(super) async fn begin(
        applier: &'a Applier,
        lane: &Lane,
        events: &'a [Logged],
        kind: Kind,
        attempts: HashMap<i64, i32>,
    ) -> Result<(Self, Transaction<'static, Postgres>), Halt> {
        let now = applier.clock.now();
        applier.log.make_room(&applier.pool, now).await?;
        let mut transaction = applier.pool.begin().await?;
        let position = match kind {
            Kind::New => events.last().map_or(lane.cursor.position, |event| event.position),
            Kind::Retry | Kind::Replay { .. } => lane.cursor.position,
        };
        let cursor = lane
            .cursor
            .advance(&mut transaction, lane.partition, position, applier.worker);
        let cursor = cursor.await?.ok_or(Halt::Fenced)?;
        // It stands for all before it. Those of a retry or a replay were durable long ago.
        if let (Kind::New, Some(last)) = (kind, events.last())
            && !log::holds(&mut *transaction, last).await?
        {
            return Err(Halt::Fenced);
        }
        let acted = match kind {
            Kind::Replay { .. } => outcome::acted(&mut *transaction, events).await?,
            Kind::New | Kind::Retry => HashSet::new(),
        };
        let batch = Self {
            applier,
            book: applier.rulebook.edition(),
            cursor,
            kind,
            attempts,
            now,
            events,
            fates: Vec::with_capacity(events.len()),
            failing: Vec::new(),
            joins: BTreeMap::new(),
            memory: HashMap::new(),
            emitted: Vec::new(),
            acted,
        };
        Ok((batch, transaction))
    }

    /// Decides each event's fate, in order.
    pub(super) async fn decide(
        &mut self,
        lane: &Lane,
        mut transaction: Transaction<'static, Postgres>,
    ) -> Result<Transaction<'static, Postgres>, Halt> {
        let mut held_up: HashSet<&str> = HashSet::new();
        let heard: Vec<Result<Option<Heard>, Failure>> = self.events.iter().map(|event| self.hear(event)).collect();
        self.recall(&heard, &mut transaction).await?;
        self.lock_joins(lane, &heard, &mut transaction).await?;
        for (event, heard) in self.events.iter().zip(heard) {
            let entity = event.envelope.entity_id.as_str();
            let is_behind = match self.kind {
                Kind::New => lane.parked.contains(entity) || held_up.contains(entity),
                Kind::Retry => held_up.contains(entity),
                Kind::Replay { .. } => false,
            };
            if is_behind {
                self.fates.push(Fate::Waits);
                continue;
            }
            let span = info_span!(
                "apply",
                event.id = event.envelope.event_id,
                event.type = event.envelope.event_type,
                entity.id = entity,
                traceparent = event.envelope.traceparent,
            );
            let fate = match heard {
                Ok(None) => Fate::Unheard,
                Ok(Some(heard)) => {
                    let (fate, given_back) = self.judge(event, &heard, transaction).instrument(span.clone()).await?;
                    transaction = given_back;
                    fate
                }
                Err(error) => Fate::Failed(error),
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
        Ok(transaction)
    }

    /// Which rules listen to an event.
    fn hear(&self, event: &Logged) -> Result<Option<Heard>, Failure> {
        let envelope = &event.envelope;
        let rules: Vec<Arc<Rule>> = self.book.rules.listening(&envelope.event_type).cloned().collect();
        if rules.is_empty() || event.is_erased {
            return Ok(None);
        }
        let payload = serde_json::from_str(envelope.payload.get()).map_err(Failure::of_none)?;
        let (version, payload) = self
            .book
            .catalogue
            .upcast(&envelope.event_type, envelope.schema_version, payload)
            .map_err(Failure::of_none)?;
        Ok(Some(Heard {
            rules,
            payload,
            version,
        }))
    }

    /// What the expressions of rules see of an event.
    pub(super) fn scope(&self, event: &Logged, heard: &Heard) -> Scope {
        let scope = Scope::of_event(&event.envelope, &heard.payload);
        if !heard.rules.iter().any(|rule| rule.uses_memory()) {
            return scope;
        }
        let known = self.memory.get(&event.envelope.entity_id);
        scope.with_memory(known.cloned().unwrap_or_default())
    }

    /// Reads what is known of the entities of events whose rules ask for it.
    async fn recall(
        &mut self,
        heard: &[Result<Option<Heard>, Failure>],
        transaction: &mut Transaction<'static, Postgres>,
    ) -> sqlx::Result<()> {
        let asks = |heard: &Result<Option<Heard>, Failure>| matches!(heard, Ok(Some(heard)) if heard.rules.iter().any(|rule| rule.uses_memory()));
        let asking = self.events.iter().zip(heard).filter(|(_, heard)| asks(heard));
        let entities: HashSet<String> = asking.map(|(event, _)| event.envelope.entity_id.clone()).collect();
        if !entities.is_empty() {
            let entities: Vec<String> = entities.into_iter().collect();
            self.memory = conversation::fact::about_entities(&mut **transaction, &entities).await?;
            for entity in entities {
                self.memory.entry(entity).or_default();
            }
        }
        Ok(())
    }

    /// Opens and locks the joins that these events take part in.
    async fn lock_joins(
        &mut self,
        lane: &Lane,
        heard: &[Result<Option<Heard>, Failure>],
        transaction: &mut Transaction<'static, Postgres>,
    ) -> sqlx::Result<()> {
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
                        Kind::New | Kind::Retry => join::deadline(event, join.within, self.now),
                    };
                    openings.entry((rule.name.clone(), key)).or_insert(deadline);
                }
            }
        }
        let joins = join::lock(transaction, lane.partition, &openings, self.now).await?;
        self.joins = joins
            .into_iter()
            .map(|join| ((join.rule.clone(), join.key.clone()), join))
            .collect();
        Ok(())
    }

    /// Writes everything and commits.
    pub(super) async fn finish(
        mut self,
        lane: &mut Lane,
        mut transaction: Transaction<'static, Postgres>,
    ) -> Result<Vec<Fate>, Halt> {
        let released = match self.kind {
            Kind::New | Kind::Retry => self.applier.faults.note(self.events, &self.fates, self.now),
            Kind::Replay { .. } => Vec::new(),
        };
        self.tell_failures();
        self.write_effects(&mut transaction).await?;
        join::save(&mut transaction, self.joins.values(), self.now).await?;
        outcome::write(&mut transaction, self.events.iter().zip(&self.fates), self.now).await?;
        let parked = self.write_fates(lane, &mut transaction).await?;
        emit::append(&mut transaction, &self.emitted, self.now).await?;
        if matches!(self.kind, Kind::Replay { dry_run: true }) {
            transaction.rollback().await?;
            return Ok(self.fates);
        }
        transaction.commit().await?;
        lane.cursor = self.cursor;
        for rule in &released {
            parked::release(&self.applier.pool, rule, self.now).await?;
        }
        self.count(parked.died);
        parked.learn(lane);
        let done: Vec<Done> = self.fates.iter().flat_map(Fate::done).cloned().collect();
        self.applier.tell(&self.emitted, &done).await;
        Ok(self.fates)
    }

    async fn write_effects(&mut self, transaction: &mut Transaction<'static, Postgres>) -> sqlx::Result<()> {
        let mut made = Vec::new();
        for (event, fate) in self.events.iter().zip(&self.fates) {
            let Fate::Applied(outcomes) = fate else { continue };
            for outcome in outcomes {
                made.extend(outcome.made(event, &outcome.rule));
            }
        }
        if made.is_empty() {
            return Ok(());
        }
        let settings = &self.applier.notifications;
        let is_late = self.kind == Kind::Retry;
        let mut done = effects::write(transaction, self.now, settings, &made, is_late)
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
        let failures = self.fates.iter().filter_map(|fate| match fate {
            Fate::Failed(failure) => Some(failure),
            Fate::Unheard | Fate::Applied(_) | Fate::Waits => None,
        });
        for (failure, span) in failures.zip(&self.failing) {
            let error = &failure.error;
            if self.is_held(failure) {
                span.in_scope(|| debug!(error, "event waits for its rule"));
            } else {
                span.in_scope(|| warn!(error, "event not applied"));
            }
        }
    }

    fn is_held(&self, failure: &Failure) -> bool {
        let rule = failure.rule.as_deref();
        rule.is_some_and(|rule| self.applier.faults.holds(rule))
    }

    /// Parks, buries or releases events by their fates.
    async fn write_fates(&self, lane: &Lane, transaction: &mut Transaction<'static, Postgres>) -> sqlx::Result<Parked> {
        let mut parked = Parked::default();
        if let Kind::Replay { .. } = self.kind {
            return Ok(parked);
        }
        let (mut waiting, mut failed, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for (event, fate) in self.events.iter().zip(&self.fates) {
            let failure = match fate {
                Fate::Waits => {
                    waiting.push(event);
                    continue;
                }
                Fate::Unheard | Fate::Applied(_) => {
                    done.push(event);
                    continue;
                }
                Fate::Failed(failure) => failure,
            };
            let is_held = self.is_held(failure);
            let before = self.attempts.get(&event.position).copied().unwrap_or(0);
            let attempts = before + i32::from(!is_held);
            let is_last = !is_held
                && attempts >= MAX_ATTEMPTS
                && self
                    .applier
                    .dead_letters
                    .have_room(&mut **transaction, self.now)
                    .await?;
            if is_last {
                dead::bury(transaction, event, attempts, &failure.error, self.now).await?;
                parked.died += 1;
                done.push(event);
                continue;
            }
            failed.push(Failed {
                event,
                attempts,
                retry_at: (!is_held).then(|| self.now + parked::wait_after(attempts)),
                error: &failure.error,
                rule: failure.rule.as_deref(),
            });
            parked.held_up.push(event.envelope.entity_id.clone());
        }
        parked::fail(transaction, lane.partition, &failed).await?;
        match self.kind {
            Kind::New => parked::wait(transaction, lane.partition, &waiting).await?,
            Kind::Retry => {
                parked.released = parked::done(transaction, lane.partition, &done, self.now).await?;
                if !waiting.is_empty() {
                    parked::end(transaction, lane.partition, self.applier.worker).await?;
                }
            }
            Kind::Replay { .. } => {}
        }
        Ok(parked)
    }

    fn count(&self, died: u64) {
        let metrics = &self.applier.metrics;
        let mut failed = 0;
        for (event, fate) in self.events.iter().zip(&self.fates) {
            match (fate, self.kind) {
                (_, Kind::Replay { .. }) | (Fate::Waits, _) => {}
                (Fate::Unheard | Fate::Applied(_), _) => metrics.applied_after(self.now - event.received_at),
                (Fate::Failed(_), _) => failed += 1,
            }
        }
        metrics.dead.inc_by(died);
        metrics.retried.inc_by(failed - died);
    }
}

/// Entities that a transaction has held up, and released, and how many events it has given up.
#[derive(Default)]
struct Parked {
    held_up: Vec<String>,
    released: Vec<String>,
    died: u64,
}

impl Parked {
    fn learn(self, lane: &mut Lane) {
        for entity in &self.released {
            lane.parked.remove(entity);
        }
        lane.parked.extend(self.held_up);
    }
}
