//! What the rules make of one event.

use std::collections::BTreeMap;

use super::{Batch, Envelope, Failure, Fate, Heard, Join, Kind, Logged, Rule, Trigger, join};
use crate::apply::applier::Halt;
use crate::apply::fate::{OutcomeKind, RuleOutcome, WhyNot};
use crate::apply::join::State;
use crate::apply::step::Act;
use crate::event::event_type::EventType;
use crate::reactions::{self, JoinMode, SeenEvent};

/// What the rules make of one event. Nothing of it has happened.
pub(super) struct Judgement {
    pub(super) outcomes: Vec<RuleOutcome>,
    /// As the event leaves them.
    pub(super) joins: Vec<Join>,
    pub(super) emitted: Vec<Envelope>,
}

impl Batch<'_> {
    /// Decides one event's fate. Nothing is written but by actions that are written in Rust.
    pub(super) async fn judge(&mut self, event: &Logged, heard: &Heard) -> Result<Fate, Halt> {
        match self.look_at(event, heard) {
            Ok(judgement) => self.carry_out(event, &heard.payload, judgement).await,
            Err(failure) => Ok(Fate::Failed(failure)),
        }
    }

    /// Runs the actions written in Rust. If all are done, the batch has what is to be written.
    pub(super) async fn carry_out(
        &mut self,
        event: &Logged,
        payload: &serde_json::Value,
        judgement: Judgement,
    ) -> Result<Fate, Halt> {
        let Judgement {
            outcomes,
            joins,
            emitted,
        } = judgement;
        if self.kind != (Kind::Replay { dry_run: true }) {
            let acts: Vec<Act<'_>> = outcomes
                .iter()
                // What a replayed event has run before is not run again.
                .filter(|outcome| !self.acted.contains(&(event.position, outcome.rule.clone())))
                .flat_map(|outcome| outcome.effects.iter().map(|effect| (outcome.rule.as_str(), effect)))
                .filter_map(|(rule, effect)| {
                    Some(Act {
                        rule,
                        name: effect.runs()?,
                        event,
                        payload,
                    })
                })
                .collect();
            if let Err(failure) = self.step.run(&self.applier.actions, &acts).await? {
                return Ok(Fate::Failed(failure));
            }
        }
        self.emitted.extend(emitted);
        for join in joins {
            self.keep(join);
        }
        if let Some(known) = self.memory.get_mut(event.envelope.entity_id.as_str()) {
            for effect in outcomes.iter().flat_map(|outcome| &outcome.effects) {
                effect.recall(&event.envelope.entity_id, known);
            }
        }
        Ok(Fate::Applied(outcomes))
    }

    fn look_at(&self, event: &Logged, heard: &Heard) -> Result<Judgement, Failure> {
        let (mut outcomes, mut joins) = (Vec::new(), Vec::new());
        for rule in &heard.rules {
            outcomes.push(match &rule.trigger {
                Trigger::On(_) => self.judge_rule(event, heard, rule, None)?,
                Trigger::Join(waits_for) => self.judge_join(event, heard, rule, waits_for, &mut joins)?,
            });
        }
        let emitted = self.emitted_by(event, &outcomes)?;
        Ok(Judgement {
            outcomes,
            joins,
            emitted,
        })
    }

    fn judge_rule(
        &self,
        event: &Logged,
        heard: &Heard,
        rule: &Rule,
        seen: Option<&BTreeMap<String, SeenEvent>>,
    ) -> Result<RuleOutcome, Failure> {
        let scope = self.scope(event, heard);
        let scope = match seen {
            Some(seen) => scope.with_events(seen),
            None => scope,
        };
        if !rule.when(&scope)? {
            return Ok(RuleOutcome::none(rule, WhyNot::Condition));
        }
        Ok(RuleOutcome::acted(rule, OutcomeKind::Event, rule.effects(&scope)?))
    }

    fn judge_join(
        &self,
        event: &Logged,
        heard: &Heard,
        rule: &Rule,
        waits_for: &reactions::Join,
        changed: &mut Vec<Join>,
    ) -> Result<RuleOutcome, Failure> {
        let key = rule.key(&self.scope(event, heard))?.unwrap_or_default();
        let Some(join) = self.joins.get(&(rule.name.clone(), key)) else {
            let rule = rule.name.clone();
            return Err(Failure::NotLocked { rule });
        };
        match join.state {
            State::Done => return Ok(RuleOutcome::none(rule, WhyNot::HasActed)),
            State::TimedOut => return Ok(RuleOutcome::none(rule, WhyNot::HasTimedOut)),
            State::Open => {}
        }
        if event.received_at > join.deadline {
            return Ok(RuleOutcome::none(rule, WhyNot::TooLate));
        }
        let mut join = join.clone();
        join.is_changed = true;
        let seen = join::seen(event, heard.version, heard.payload.clone());
        join.seen.entry(event.envelope.event_type.to_string()).or_insert(seen);
        let missing = missing(waits_for, &join.seen);
        if waits_for.mode == JoinMode::All && !missing.is_empty() {
            let outcome = RuleOutcome::none(rule, WhyNot::Waits(missing));
            changed.push(join);
            return Ok(outcome);
        }
        let outcome = self.judge_rule(event, heard, rule, Some(&join.seen))?;
        join.state = State::Done;
        changed.push(join);
        Ok(outcome)
    }

    /// The events that these outcomes tell of.
    pub(super) fn emitted_by(&self, event: &Logged, outcomes: &[RuleOutcome]) -> Result<Vec<Envelope>, Failure> {
        let mut emitted = Vec::new();
        for outcome in outcomes {
            for made in outcome.made(event) {
                let of_one = made.emitted(&self.book.catalogue, self.now);
                emitted.extend(of_one.map_err(|error| Failure::Emitted {
                    rule: outcome.rule.clone(),
                    error,
                })?);
            }
        }
        Ok(emitted)
    }
}

/// The types that a join has not seen.
pub(super) fn missing(join: &reactions::Join, seen: &BTreeMap<String, SeenEvent>) -> Vec<String> {
    let missing = join
        .types
        .iter()
        .filter(|event_type| !seen.contains_key(event_type.as_str()));
    missing.map(EventType::to_string).collect()
}
