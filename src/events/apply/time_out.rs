//! Joins whose time is over.

use serde_json::value::RawValue;
use tracing::{Instrument as _, info_span, warn};

use super::action::event_of;
use super::emit::emitted_by;
use super::judge::missing;
use super::{Applier, Fate, Halt, Lane, RuleOutcome};
use crate::conversation::{self, Applied};
use crate::events::join::{self, State};
use crate::events::log::{self, Logged};
use crate::events::{Envelope, outcome};
use crate::reactions::{Effect, Scope, SeenEvent, Trigger};

impl Applier {
    /// Acts on the joins of a partition whose time is over; returns whether there were any.
    pub(crate) async fn time_out(&self, lane: &mut Lane) -> Result<bool, Halt> {
        let now = self.clock.now();
        let book = self.rulebook.edition();
        let mut transaction = self.pool.begin().await?;
        let position = lane.cursor.position;
        let cursor = lane
            .cursor
            .advance(&mut transaction, lane.partition, position, self.worker)
            .await?;
        let cursor = cursor.ok_or(Halt::Fenced)?;
        let mut due = join::lock_due(&mut transaction, lane.partition, now).await?;
        if due.is_empty() {
            transaction.rollback().await?;
            return Ok(false);
        }
        let mut done = Vec::new();
        let mut emitted = Vec::new();
        for join in &mut due {
            join.state = State::TimedOut;
            let Some(first) = join.seen.values().min_by_key(|seen| seen.position) else {
                continue;
            };
            let Some(rule) = book.rules.by_name(&join.rule) else {
                continue;
            };
            let event = logged(first);
            let span = info_span!(
                "time-out",
                rule = rule.name,
                event.id = event.envelope.event_id,
                entity.id = event.envelope.entity_id
            );
            let Trigger::Join(waits_for) = &rule.trigger else {
                continue;
            };
            let scope = Scope::of_timeout(&first.entity_id, &join.key, &join.seen, &missing(waits_for, &join.seen));
            let effects = match rule.timeout_effects(&scope) {
                Ok(effects) => effects,
                Err(error) => {
                    span.in_scope(|| warn!(error = %error, "time-out has no effect"));
                    continue;
                }
            };
            sqlx::query!("savepoint actions").execute(&mut *transaction).await?;
            let mut failed = None;
            for effect in &effects {
                let Effect::Run { name } = effect else { continue };
                let given = event_of(&event, first.payload.clone());
                let (ran, given_back) = self.run(name, given, transaction).instrument(span.clone()).await?;
                transaction = given_back;
                if let Err(error) = ran {
                    failed = Some(error);
                    break;
                }
            }
            let mut outcome = RuleOutcome {
                rule: format!("{} (time-out)", rule.name),
                why_not: None,
                effects,
                done: Vec::new(),
            };
            match failed.map_or_else(|| emitted_by(&event, std::slice::from_ref(&outcome), &book, now), Err) {
                Ok(events) => emitted.extend(events),
                Err(error) => {
                    span.in_scope(|| warn!(error, "time-out has no effect"));
                    sqlx::query!("rollback to savepoint actions")
                        .execute(&mut *transaction)
                        .await?;
                    continue;
                }
            }
            let applied = outcome.effects.iter().enumerate().map(|(index, effect)| Applied {
                position: event.position,
                event: &event.envelope,
                rule: &outcome.rule,
                index,
                effect,
            });
            let applied: Vec<Applied<'_>> = applied.collect();
            outcome.done = conversation::apply(&mut transaction, now, &self.notifications, &applied).await?;
            done.extend(outcome.done.iter().cloned());
            let fate = Fate::Applied(vec![outcome]);
            outcome::write(&mut transaction, std::iter::once((&event, &fate)), now).await?;
        }
        join::save(&mut transaction, &due.iter().collect::<Vec<_>>(), now).await?;
        if !emitted.is_empty() {
            let events: Vec<&Envelope> = emitted.iter().collect();
            log::append(&mut transaction, &events, now).await?;
        }
        transaction.commit().await?;
        lane.cursor = cursor;
        self.tell(&emitted, &done).await;
        Ok(true)
    }
}

/// An event that a join has seen, as it is in the log.
fn logged(seen: &SeenEvent) -> Logged {
    let payload = serde_json::value::to_raw_value(&seen.payload);
    Logged {
        position: seen.position,
        received_at: seen.received_at,
        envelope: Envelope {
            source: seen.source.as_str().into(),
            event_id: seen.event_id.clone(),
            event_type: String::new(),
            timestamp: seen.timestamp,
            entity_id: seen.entity_id.clone(),
            user_id: seen.user_id.clone(),
            schema_version: seen.schema_version,
            payload: payload.unwrap_or_else(|_| RawValue::NULL.to_owned()),
            traceparent: None,
        },
    }
}
