//! Joins whose time is over.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{Postgres, Transaction};
use tracing::{Instrument as _, info, info_span, warn};

use super::ENDED;
use super::applier::{Applier, Halt, Lane};
use super::fate::{Failure, Fate, OutcomeKind, RuleOutcome};
use super::judge::{emitted_by, missing};
use crate::apply::join::{self, Join, State};
use crate::apply::outcome;
use crate::event::envelope::Envelope;
use crate::log::Logged;
use crate::log::audit::{self, Entry};
use crate::log::parked::{self, MAX_ATTEMPTS};
use crate::postgres::is_about_data;
use crate::reactions::effects::run::run;
use crate::reactions::effects::{self, Done, Effect, Made, emit};
use crate::reactions::{Scope, SeenEvent, Trigger};

/// What a time-out has come to, or why it has failed.
type Over = Result<(Vec<Done>, Vec<Envelope>), Failure>;

impl Applier {
    /// Acts on a join of a partition whose time is over; returns whether there was one. What fails is tried again, five
    /// times; then the audit trail says so.
    pub(crate) async fn time_out(&self, lane: &mut Lane) -> Result<bool, Halt> {
        let now = self.clock.now();
        let Some((rule, key)) = join::due(&self.pool, lane.partition, now).await? else {
            return Ok(false);
        };
        join::begin(&self.pool, &rule, &key).await?;
        let ended = match self.end_join(lane, &rule, &key, None, now).await {
            Err(Halt::Database(error)) if is_about_data(&error) => {
                let refused = Some(Failure::of(&rule, error));
                self.end_join(lane, &rule, &key, refused, now).await
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

    /// One transaction; `refused` is why the database refused what came of this join just before.
    async fn end_join(
        &self,
        lane: &mut Lane,
        rule: &str,
        key: &str,
        refused: Option<Failure>,
        now: DateTime<Utc>,
    ) -> Result<(), Halt> {
        self.log.make_room(&self.pool, now).await?;
        let mut transaction = self.pool.begin().await?;
        let position = lane.cursor.position;
        let cursor = lane
            .cursor
            .advance(&mut transaction, lane.partition, position, self.worker)
            .await?;
        let cursor = cursor.ok_or(Halt::Fenced)?;
        // What completed it in between has ended it.
        let Some(mut join) = join::lock_open(&mut transaction, rule, key, now).await? else {
            transaction.rollback().await?;
            return Ok(());
        };
        let over = match refused {
            Some(failure) => Err(failure),
            None if join.attempts > MAX_ATTEMPTS => Err(Failure::of(rule, ENDED)),
            None => {
                let (over, given_back) = self.act(&join, transaction, now).await?;
                transaction = given_back;
                over
            }
        };
        join.is_changed = true;
        let (done, emitted) = match over {
            Ok(over) => {
                join.state = State::TimedOut;
                join.attempts -= 1;
                over
            }
            Err(Failure { error, .. }) => {
                warn!(rule = join.rule, error, "time-out has failed");
                if join.attempts < MAX_ATTEMPTS {
                    join.deadline = now + parked::wait_after(join.attempts);
                } else {
                    join.state = State::TimedOut;
                    let entry = Entry {
                        actor: "rejoinder",
                        action: "dead",
                        position: join.seen.values().map(|seen| seen.position).min(),
                        detail: &format!("time-out of rule {}: {error}", join.rule),
                    };
                    audit::write(&mut transaction, &entry, now).await?;
                }
                (Vec::new(), Vec::new())
            }
        };
        join::save(&mut transaction, [&join], now).await?;
        emit::append(&mut transaction, &emitted, now).await?;
        transaction.commit().await?;
        lane.cursor = cursor;
        self.tell(&emitted, &done).await;
        Ok(())
    }

    /// What the rule of a join does when its time is over; all of it, or nothing.
    async fn act(
        &self,
        join: &Join,
        mut transaction: Transaction<'static, Postgres>,
        now: DateTime<Utc>,
    ) -> Result<(Over, Transaction<'static, Postgres>), Halt> {
        let nothing = || Ok((Vec::new(), Vec::new()));
        let book = self.rulebook.edition();
        let first = join.seen.values().min_by_key(|seen| seen.position);
        // A rule that is gone does nothing.
        let (Some(first), Some(rule)) = (first, book.rules.by_name(&join.rule)) else {
            return Ok((nothing(), transaction));
        };
        let Trigger::Join(waits_for) = &rule.trigger else {
            return Ok((nothing(), transaction));
        };
        let event = logged(first);
        let span = info_span!(
            "time-out",
            rule = rule.name,
            event.id = event.envelope.event_id,
            entity.id = event.envelope.entity_id,
            traceparent = event.envelope.traceparent,
        );
        let scope = Scope::of_timeout(&first.entity_id, &join.key, &join.seen, &missing(waits_for, &join.seen));
        let effects = match rule.timeout_effects(&scope) {
            Ok(effects) => effects,
            Err(error) => return Ok((Err(Failure::of(&rule.name, error)), transaction)),
        };
        let mut outcome = RuleOutcome::acted(rule, OutcomeKind::TimeOut, effects);
        let emitted = match emitted_by(&event, std::slice::from_ref(&outcome), &book.catalogue, now) {
            Ok(emitted) => emitted,
            Err(error) => return Ok((Err(error), transaction)),
        };
        sqlx::query!("savepoint actions").execute(&mut *transaction).await?;
        for name in outcome.effects.iter().filter_map(Effect::runs) {
            let running = run(&self.actions, name, &event, first.payload.clone(), transaction);
            let (ran, given_back) = running.instrument(span.clone()).await?;
            transaction = given_back;
            if let Err(error) = ran {
                sqlx::query!("rollback to savepoint actions")
                    .execute(&mut *transaction)
                    .await?;
                return Ok((Err(Failure::of(&rule.name, error)), transaction));
            }
        }
        let label = outcome.label();
        let made: Vec<Made<'_, Effect>> = outcome.made(&event, &label).collect();
        let done = effects::write(&mut transaction, now, &self.notifications, &made, false).await?;
        outcome.done.clone_from(&done);
        let fate = Fate::Applied(vec![outcome]);
        outcome::write(&mut transaction, std::iter::once((&event, &fate)), now).await?;
        Ok((Ok((done, emitted)), transaction))
    }
}

/// An event that a join has seen, as it is in the log.
fn logged(seen: &SeenEvent) -> Logged {
    let payload = serde_json::value::to_raw_value(&seen.payload);
    Logged {
        position: seen.position,
        received_at: seen.received_at,
        is_erased: false,
        is_named_by_position: seen.is_named_by_position,
        envelope: Envelope {
            source: seen.source.as_str().into(),
            event_id: seen.event_id.clone(),
            event_type: String::new(),
            timestamp: seen.timestamp,
            entity_id: seen.entity_id.clone(),
            user_id: seen.user_id.clone(),
            schema_version: seen.schema_version,
            payload: payload.unwrap_or_else(|_| RawValue::NULL.to_owned()),
            traceparent: seen.traceparent.clone(),
        },
    }
}
