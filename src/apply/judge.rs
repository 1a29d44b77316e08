//! What the rules make of one event.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::applier::{Halt, Kind};
use super::batch::{Batch, Heard};
use super::fate::{Failure, Fate, HAS_ACTED, HAS_TIMED_OUT, OutcomeKind, RuleOutcome};
use crate::apply::join::{self, Join, State};
use crate::event::catalogue::Catalogue;
use crate::event::envelope::Envelope;
use crate::log::Logged;
use crate::reactions::effects::run::run;
use crate::reactions::{self, JoinMode, Rule, SeenEvent, Trigger};

impl Batch<'_> {
    /// What the rules make of one event. Nothing is written but by actions that are written in Rust.
    pub(super) async fn judge(
        &mut self,
        event: &Logged,
        heard: &Heard,
        mut transaction: Transaction<'static, Postgres>,
    ) -> Result<(Fate, Transaction<'static, Postgres>), Halt> {
        let mut joins = Vec::new();
        let mut outcomes = Vec::new();
        for rule in &heard.rules {
            let judged = match &rule.trigger {
                Trigger::On(_) => self.judge_rule(event, heard, rule, None),
                Trigger::Join(_) => self.judge_join(event, heard, rule, &mut joins),
            };
            match judged {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => return Ok((Fate::Failed(Failure::of(&rule.name, error)), transaction)),
            }
        }
        let emitted = match emitted_by(event, &outcomes, &self.book.catalogue, self.now) {
            Ok(emitted) => emitted,
            Err(failure) => return Ok((Fate::Failed(failure), transaction)),
        };
        let runs = outcomes
            .iter()
            // What a replayed event has run before is not run again.
            .filter(|outcome| !self.acted.contains(&(event.position, outcome.rule.clone())))
            .flat_map(|outcome| outcome.effects.iter().map(|effect| (outcome.rule.as_str(), effect)))
            .filter_map(|(rule, effect)| Some((rule, effect.runs()?)));
        let runs: Vec<(&str, &str)> = runs.collect();
        let is_dry = matches!(self.kind, Kind::Replay { dry_run: true });
        if !runs.is_empty() && !is_dry {
            sqlx::query!("savepoint actions").execute(&mut *transaction).await?;
            for (rule, name) in runs {
                let (actions, payload) = (&self.applier.actions, heard.payload.clone());
                let (done, given_back) = run(actions, name, event, payload, transaction).await?;
                transaction = given_back;
                if let Err(error) = done {
                    sqlx::query!("rollback to savepoint actions")
                        .execute(&mut *transaction)
                        .await?;
                    sqlx::query!("release savepoint actions")
                        .execute(&mut *transaction)
                        .await?;
                    return Ok((Fate::Failed(Failure::of(rule, error)), transaction));
                }
            }
            sqlx::query!("release savepoint actions")
                .execute(&mut *transaction)
                .await?;
        }
        self.emitted.extend(emitted);
        for join in joins {
            self.joins.insert((join.rule.clone(), join.key.clone()), join);
        }
        if let Some(known) = self.memory.get_mut(&event.envelope.entity_id) {
            for effect in outcomes.iter().flat_map(|outcome| &outcome.effects) {
                effect.recall(&event.envelope.entity_id, known);
            }
        }
        Ok((Fate::Applied(outcomes), transaction))
    }

    fn judge_rule(
        &self,
        event: &Logged,
        heard: &Heard,
        rule: &Rule,
        seen: Option<&BTreeMap<String, SeenEvent>>,
    ) -> Result<RuleOutcome, String> {
        let scope = self.scope(event, heard);
        let scope = match seen {
            Some(seen) => scope.with_events(seen),
            None => scope,
        };
        if !rule.when(&scope).map_err(|error| error.to_string())? {
            return Ok(RuleOutcome::none(rule, "its condition does not hold"));
        }
        let effects = rule.effects(&scope).map_err(|error| error.to_string())?;
        Ok(RuleOutcome::acted(rule, OutcomeKind::Event, effects))
    }

    fn judge_join(
        &self,
        event: &Logged,
        heard: &Heard,
        rule: &Rule,
        changed: &mut Vec<Join>,
    ) -> Result<RuleOutcome, String> {
        let Trigger::Join(waits_for) = &rule.trigger else {
            return Ok(RuleOutcome::none(rule, "it is no join"));
        };
        let scope = self.scope(event, heard);
        let key = rule.key(&scope).map_err(|error| error.to_string())?.unwrap_or_default();
        let Some(join) = self.joins.get(&(rule.name.clone(), key)) else {
            return Err(format!("rule {}: its join is not locked", rule.name));
        };
        match join.state {
            State::Done => return Ok(RuleOutcome::none(rule, HAS_ACTED)),
            State::TimedOut => return Ok(RuleOutcome::none(rule, HAS_TIMED_OUT)),
            State::Open => {}
        }
        if event.received_at > join.deadline {
            return Ok(RuleOutcome::none(rule, "its time is over"));
        }
        let mut join = join.clone();
        join.is_changed = true;
        let seen = join::seen(event, heard.version, heard.payload.clone());
        join.seen.entry(event.envelope.event_type.clone()).or_insert(seen);
        let missing = missing(waits_for, &join.seen);
        if waits_for.mode == JoinMode::All && !missing.is_empty() {
            let outcome = RuleOutcome::none(rule, &format!("it waits for {}", missing.join(", ")));
            changed.push(join);
            return Ok(outcome);
        }
        let outcome = self.judge_rule(event, heard, rule, Some(&join.seen))?;
        join.state = State::Done;
        changed.push(join);
        Ok(outcome)
    }
}

/// The events that these outcomes tell of.
pub(super) fn emitted_by(
    event: &Logged,
    outcomes: &[RuleOutcome],
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Vec<Envelope>, Failure> {
    let mut emitted = Vec::new();
    for outcome in outcomes {
        let (rule, label) = (&outcome.rule, outcome.label());
        for made in outcome.made(event, &label) {
            let of_one = made.emitted(catalogue, now);
            emitted.extend(of_one.map_err(|error| Failure::of(rule, format!("rule {rule}: {error}")))?);
        }
    }
    Ok(emitted)
}

/// The types that a join has not seen.
pub(super) fn missing(join: &reactions::Join, seen: &BTreeMap<String, SeenEvent>) -> Vec<String> {
    let missing = join.types.iter().filter(|event_type| !seen.contains_key(*event_type));
    missing.cloned().collect()
}
