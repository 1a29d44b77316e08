//! A join whose time is over: a batch of the first event that it has seen.

use serde_json::value::RawValue;
use tracing::{Instrument as _, info, info_span, warn};

use super::judge::{Judgement, missing};
use super::{Applier, Batch, Envelope, Failure, Fate, Join, Kind, Lane, Logged, Scope, Step, Trigger, join};
use crate::apply::applier::Halt;
use crate::apply::fate::{OutcomeKind, RuleOutcome};
use crate::apply::join::State;
use crate::attempts::Attempts;
use crate::event::event_type::EventType;
use crate::event::payload::Payload;
use crate::log::audit::{self, Entry};
use crate::postgres::is_about_data;
use crate::reactions::SeenEvent;
use crate::telemetry::traces;

impl Applier {
    /// Acts on a join of a partition whose time is over; returns whether there was one. What fails is tried again, five
    /// times; then the audit trail says so.
    pub(crate) async fn time_out(&self, lane: &mut Lane) -> Result<bool, Halt> {
        let Some((rule, key)) = join::due(&self.pool, lane.partition, self.clock.now()).await? else {
            return Ok(false);
        };
        join::begin(&self.pool, &rule, &key).await?;
        let ended = match self.end_join(lane, &rule, &key, None).await {
            Err(Halt::Database(error)) if is_about_data(&error) => {
                self.end_join(lane, &rule, &key, Some(Failure::Refused(error))).await
            }
            ended => ended,
        };
        if ended.is_err()
            && let Err(error) = join::give_up(&self.pool, &rule, &key).await
        {
            info!(rule, error = %error, "the attempt of a time-out is not taken back; it counts as failed");
        }
        ended.map(|()| true)
    }

    /// `refused` is why the database refused what came of this join just before.
    async fn end_join(&self, lane: &mut Lane, rule: &str, key: &str, refused: Option<Failure>) -> Result<(), Halt> {
        let now = self.clock.now();
        let mut step = Step::begin(self, lane, &[], now).await?;
        // What completed it in between has ended it.
        let Some(join) = join::lock_open(step.connection()?, rule, key, now).await? else {
            return Ok(step.rollback().await?);
        };
        let first = join.seen.iter().min_by_key(|(_, seen)| seen.position);
        let events: Vec<Logged> = first
            .map(|(event_type, seen)| logged(event_type, seen))
            .into_iter()
            .collect();
        // This attempt is on record already.
        let failures = join.attempts - 1;
        let mut batch = Batch::of(self, step, &events, Kind::TimeOut, now);
        if let (Some(event), Some((_, first))) = (events.first(), first) {
            let fate = match refused {
                Some(failure) => Fate::Failed(failure),
                None if Attempts::OF_AN_EVENT.are_over(failures) => Fate::Failed(Failure::Ended),
                None => batch.end(&join, event, first).await?,
            };
            batch.fates.push(fate);
        }
        batch.settle(join).await?;
        batch.finish(lane).await.map(drop)
    }
}

impl Batch<'_> {
    /// What the rule of a join does when its time is over.
    async fn end(&mut self, join: &Join, event: &Logged, first: &SeenEvent) -> Result<Fate, Halt> {
        let span = info_span!(
            "time-out",
            rule = join.rule,
            event.id = event.envelope.event_id.as_str(),
            entity.id = event.envelope.entity_id.as_str(),
            traceparent = event.envelope.traceparent,
        );
        traces::follow(&span, || event.envelope.traceparent.as_deref());
        match self.look_at_end(join, event, first) {
            // A rule that is gone does nothing.
            Ok(None) => Ok(Fate::Unheard),
            Ok(Some(judgement)) => {
                let carried_out = self.carry_out(event, &first.payload, judgement);
                carried_out.instrument(span).await
            }
            Err(failure) => Ok(Fate::Failed(failure)),
        }
    }

    fn look_at_end(&self, join: &Join, event: &Logged, first: &SeenEvent) -> Result<Option<Judgement>, Failure> {
        let Some(rule) = self.book.rules.by_name(&join.rule) else {
            return Ok(None);
        };
        let Trigger::Join(waits_for) = &rule.trigger else {
            return Ok(None);
        };
        let scope = Scope::of_timeout(&first.entity_id, &join.key, &join.seen, &missing(waits_for, &join.seen));
        let outcome = RuleOutcome::acted(rule, OutcomeKind::TimeOut, rule.timeout_effects(&scope)?);
        let outcomes = vec![outcome];
        let emitted = self.emitted_by(event, &outcomes)?;
        Ok(Some(Judgement {
            outcomes,
            joins: Vec::new(),
            emitted,
        }))
    }

    /// The join is over, or its time-out is tried again later.
    async fn settle(&mut self, mut join: Join) -> sqlx::Result<()> {
        join.is_changed = true;
        match self.fates.first().and_then(Fate::failure) {
            None => {
                join.state = State::TimedOut;
                join.attempts -= 1;
            }
            Some(failure) => {
                warn!(rule = join.rule, error = %failure, "time-out has failed");
                if Attempts::OF_AN_EVENT.are_over(join.attempts) {
                    join.state = State::TimedOut;
                    let entry = Entry {
                        actor: "rejoinder",
                        action: "dead",
                        position: join.seen.values().map(|seen| seen.position).min(),
                        detail: &format!("time-out of rule {}: {failure}", join.rule),
                    };
                    audit::write(self.step.connection()?, &entry, self.now).await?;
                } else {
                    join.deadline = self.now + Attempts::wait_after(join.attempts);
                }
            }
        }
        self.keep(join);
        Ok(())
    }
}

/// An event that a join has seen, as it is in the log.
fn logged(event_type: &str, seen: &SeenEvent) -> Logged {
    let payload = serde_json::value::to_raw_value(&seen.payload);
    Logged {
        position: seen.position,
        received_at: seen.received_at,
        is_erased: false,
        is_named_by_position: seen.is_named_by_position,
        envelope: Envelope {
            source: seen.source.as_str().into(),
            event_id: seen.event_id.clone(),
            event_type: EventType::stored(event_type.to_owned()),
            timestamp: seen.timestamp,
            entity_id: seen.entity_id.clone(),
            user_id: seen.user_id.clone(),
            schema_version: seen.schema_version,
            payload: Payload::stored(payload.unwrap_or_else(|_| RawValue::NULL.to_owned())),
            traceparent: seen.traceparent.clone(),
            hops: seen.hops,
        },
    }
}
