//! Applying events: each partition's in order, one transaction for many, with everything that comes of them.

pub(crate) mod against_log;
mod applier;
mod batch;
pub(crate) mod explain;
mod fate;
mod fault;
pub(crate) mod join;
pub(crate) mod list;
pub(crate) mod outcome;
pub(crate) mod replay;
pub(crate) mod retention;
mod step;
pub(crate) mod survey;
pub(crate) mod worker;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use tracing::warn;

use self::applier::Kind;
pub(crate) use self::applier::{Applier, Halt, Lane};
use self::batch::Batch;
pub(crate) use self::fate::{Failure, Fate, RuleOutcome};
pub(crate) use self::fault::Faults;
use self::step::Step;
use crate::attempts::Attempts;
use crate::event::partition::Partition;
use crate::event::position::Position;
use crate::log::parked::{self, Due};
use crate::log::{self, Logged, doubt};
use crate::postgres::is_about_data;

/// What one transaction applies at most, in events and in bytes of payload.
pub(crate) const BATCH_EVENTS: i64 = 500;
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// By how much fewer events are tried in one transaction after a process has ended during an attempt that is on record:
/// soon the one that does it is alone.
const FEWER: usize = 8;

impl Applier {
    /// Reads where a partition stands, and which rules are held there.
    pub(crate) async fn load(&self, partition: Partition) -> sqlx::Result<Lane> {
        for held in parked::held_rules(&self.pool, Some(partition)).await? {
            self.faults.restore(&held.rule, self.clock.now());
        }
        Lane::load(&self.pool, partition).await
    }

    /// Applies the next events of a partition, in order. What fails is parked. Where the last worker may have been ended
    /// by one of them, all are parked first, and tried with care.
    pub(crate) async fn apply(&self, lane: &mut Lane, events: &[Logged]) -> Result<(), Halt> {
        if lane.is_doubted {
            return self.doubt(lane, events).await;
        }
        if events.is_empty() {
            return Ok(());
        }
        match self.attempt(lane, events, Kind::New, HashMap::new()).await {
            // One of them has data that the database does not take.
            Err(Halt::Database(error)) if is_about_data(&error) => {
                for event in events {
                    self.apply_alone(lane, event, Kind::New, 0).await?;
                }
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Tries parked events again that are due, many in one transaction; false when none is.
    pub(crate) async fn retry(&self, lane: &mut Lane) -> Result<bool, Halt> {
        let now = self.clock.now();
        let due = parked::due(&self.pool, lane.partition, now, self.worker, BATCH_EVENTS).await?;
        let due = one_batch(due);
        let positions: Vec<Position> = due.iter().map(|due| due.position).collect();
        let events = log::at(&self.pool, lane.partition, &positions, BATCH_BYTES).await?;
        let due = self.still_there(lane, due, &events, now).await?;
        let (Some(first), Some(first_event)) = (due.first(), events.first()) else {
            return Ok(!positions.is_empty());
        };
        if first.is_suspect && Attempts::OF_AN_EVENT.are_over(first.attempts) {
            self.give_up(lane, first_event, Kind::Retry, first.attempts - 1, Failure::Ended)
                .await?;
            return Ok(true);
        }
        parked::begin(&self.pool, lane.partition, &due.iter().collect::<Vec<_>>(), self.worker).await?;
        let attempts = due.iter().map(|due| (due.position, due.attempts)).collect();
        let fates = match self.attempt(lane, &events, Kind::Retry, attempts).await {
            Err(Halt::Database(error)) if is_about_data(&error) => self.retry_each(lane, &due, &events).await?,
            done => done?,
        };
        self.release_mended(&due, &fates).await?;
        Ok(true)
    }

    /// Of events that are due, those that are in the log and among `events`; the wait of those that are gone ends.
    async fn still_there(
        &self,
        lane: &Lane,
        due: Vec<Due>,
        events: &[Logged],
        now: DateTime<Utc>,
    ) -> sqlx::Result<Vec<Due>> {
        let there: HashSet<Position> = events.iter().map(|event| event.position).collect();
        // Behind the last one they were not read, because it was enough.
        let last = events.last().map_or(Position::LAST, |event| event.position);
        let (mut still, gone): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|due| there.contains(&due.position));
        for gone in gone.iter().filter(|gone| gone.position < last) {
            warn!(
                position = gone.position.number(),
                "a parked event is not in the log any more; it waits no longer"
            );
            parked::drop(&self.pool, lane.partition, gone, now).await?;
        }
        still.sort_by_key(|due| due.position);
        Ok(still)
    }

    /// Tries parked events one by one, because the database has refused what comes of one.
    async fn retry_each(&self, lane: &mut Lane, due: &[Due], events: &[Logged]) -> Result<Vec<Fate>, Halt> {
        let mut held_up = HashSet::new();
        let mut fates = Vec::with_capacity(events.len());
        for (due, event) in due.iter().zip(events) {
            let fate = if held_up.contains(&due.entity_id) {
                Fate::Waits
            } else {
                self.apply_alone(lane, event, Kind::Retry, due.attempts).await?
            };
            if let Fate::Failed(_) = fate {
                held_up.insert(&due.entity_id);
            }
            fates.push(fate);
        }
        Ok(fates)
    }

    /// A rule that has failed for an event which is applied now is mended: what waits for it is due.
    async fn release_mended(&self, due: &[Due], fates: &[Fate]) -> sqlx::Result<()> {
        for (due, fate) in due.iter().zip(fates) {
            if let (Some(rule), Fate::Applied(_) | Fate::Unheard) = (&due.rule, fate)
                && self.faults.mended(rule)
            {
                self.release(rule).await?;
            }
        }
        Ok(())
    }

    /// Parks events that the last worker may have been applying when it ended. They are tried as all parked ones are: on
    /// record before, and fewer at once each time that ends a process.
    async fn doubt(&self, lane: &mut Lane, events: &[Logged]) -> Result<(), Halt> {
        let now = self.clock.now();
        let mut step = Step::begin(self, lane, events, now).await?;
        parked::doubt(step.connection()?, lane.partition, events, &lane.parked, now).await?;
        doubt::clear(step.connection()?, lane.partition).await?;
        step.commit(lane).await?;
        lane.is_doubted = false;
        lane.parked
            .extend(events.iter().map(|event| event.envelope.entity_id.to_string()));
        Ok(())
    }

    /// Applies old events of a partition again: what they have done already is not done twice, what new rules make of
    /// them is. Returns what came of each.
    pub(crate) async fn replay(&self, lane: &mut Lane, events: &[Logged], dry_run: bool) -> Result<Vec<Fate>, Halt> {
        let kind = Kind::Replay { dry_run };
        self.attempt(lane, events, kind, HashMap::new()).await
    }

    async fn apply_alone(&self, lane: &mut Lane, event: &Logged, kind: Kind, attempts: i32) -> Result<Fate, Halt> {
        let before = HashMap::from([(event.position, attempts)]);
        let fates = match self.attempt(lane, std::slice::from_ref(event), kind, before).await {
            Err(Halt::Database(error)) if is_about_data(&error) => {
                self.give_up(lane, event, kind, attempts, Failure::Refused(error))
                    .await?
            }
            done => done?,
        };
        Ok(fates.into_iter().next().unwrap_or(Fate::Waits))
    }

    /// Ends an attempt that cannot be made, or that the database has refused.
    async fn give_up(
        &self,
        lane: &mut Lane,
        event: &Logged,
        kind: Kind,
        attempts: i32,
        why: Failure,
    ) -> Result<Vec<Fate>, Halt> {
        let before = HashMap::from([(event.position, attempts)]);
        let batch = Batch::begin(self, lane, std::slice::from_ref(event), kind, before).await?;
        batch.fail(lane, why).await
    }

    async fn attempt(
        &self,
        lane: &mut Lane,
        events: &[Logged],
        kind: Kind,
        attempts: HashMap<Position, i32>,
    ) -> Result<Vec<Fate>, Halt> {
        let mut batch = Batch::begin(self, lane, events, kind, attempts).await?;
        batch.decide(lane).await?;
        batch.finish(lane).await
    }
}

/// As many of the events that are due as are tried in one transaction.
fn one_batch(mut due: Vec<Due>) -> Vec<Due> {
    let mut most = due.len();
    for (index, due) in due.iter().enumerate() {
        if due.is_suspect
            && let Some(tried_with) = due.tried_with
        {
            let fewer = usize::try_from(tried_with).unwrap_or_default() / FEWER;
            most = most.min(fewer.max(1)).max(index);
        }
        if index >= most {
            break;
        }
    }
    due.truncate(most);
    due
}
