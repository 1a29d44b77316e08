//! Applying old events again, through the rules of today.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{join, outcome};
use crate::apply::{Applier, BATCH_BYTES, Fate, Halt, Lane};
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::partition::Partition;
use crate::event::position::Position;
use crate::log::{self, Logged};

/// How many events one transaction applies again.
const BATCH: i64 = 100;

/// How often a batch is tried that a worker was in the way of.
const TRIES: u32 = 50;

/// Which events.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    /// Stored from then on.
    pub(crate) from: DateTime<Utc>,
    /// And before.
    pub(crate) to: DateTime<Utc>,
    /// Only of this type.
    pub(crate) event_type: Option<String>,
}

/// An event of which something else came than before.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Difference {
    pub(crate) event_id: Id,
    pub(crate) event_type: EventType,
    pub(crate) entity_id: Id,
    /// What rules made of it the last time; null: no rule listened.
    pub(crate) before: Value,
    /// What they make of it now.
    pub(crate) now: Value,
}

/// Where a replay stands: the events of all partitions before this one, and of this one up to the position, are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    partition: Partition,
    position: Position,
}

/// What some events came to that were applied again.
#[derive(Debug)]
pub(crate) struct Reapplied {
    /// How many they were.
    pub(crate) events: usize,
    /// Those of which something else came.
    pub(crate) differences: Vec<Difference>,
}

/// Events that are applied again, each partition in order, some at a time. Those that wait, are parked or dead are left to
/// the workers.
///
/// What an event has done before is not done twice: facts that are newer stay, messages that went out do not go out
/// again, joins that have acted do not act again. A dry run changes nothing and runs no action written in Rust.
pub(crate) struct Replay<'a> {
    applier: &'a Applier,
    range: &'a Range,
    dry_run: bool,
    place: Place,
}

impl<'a> Replay<'a> {
    /// Begins at `place`; the default is the beginning.
    pub(crate) fn new(applier: &'a Applier, range: &'a Range, dry_run: bool, place: Place) -> Self {
        Self {
            applier,
            range,
            dry_run,
            place,
        }
    }

    /// Where it stands. Another one can go on there.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// How many events there are still to come.
    pub(crate) async fn count(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from rejoinder.event_log
               where received_at >= $1 and received_at < $2 and ($3::text is null or event_type = $3)
                   and (partition, position) > ($4, $5)"#,
            self.range.from,
            self.range.to,
            self.range.event_type,
            self.place.partition.number(),
            self.place.position.number()
        )
        .fetch_one(&self.applier.pool)
        .await
    }

    /// Applies the next events again, in one transaction; none when all are done. One that is not called to the end leaves
    /// joins open, for the replay that goes on.
    ///
    /// # Errors
    /// When the database fails, or a worker is in the way for too long; then nothing of them is done.
    pub(crate) async fn step(&mut self) -> Result<Option<Reapplied>, Halt> {
        let applier = self.applier;
        loop {
            let Place { partition, position } = self.place;
            let positions = positions(&applier.pool, partition, self.range, position).await?;
            let Some(last) = positions.last() else {
                let Some(partition) = partition.next() else { break };
                self.place = Place {
                    partition,
                    position: Position::default(),
                };
                continue;
            };
            let events = log::at(&applier.pool, partition, &positions, BATCH_BYTES).await?;
            // Fewer than there are, where they are long.
            let last = events.last().map_or(*last, |event| event.position);
            let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
            let before = outcome::latest(&applier.pool, &positions).await?;
            let fates = again(applier, partition, &events, self.dry_run).await?;
            self.place.position = last;
            let differences = events.iter().zip(&fates);
            let differences = differences.filter_map(|(event, fate)| difference(event, fate, &before));
            return Ok(Some(Reapplied {
                events: events.len(),
                differences: differences.collect(),
            }));
        }
        join::end_replay(&applier.pool).await?;
        Ok(None)
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition.number(), self.position)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |(partition, position): (&str, &str)| {
            let partition = partition.parse().ok().and_then(Partition::numbered)?;
            let position = position.parse::<i64>().ok().filter(|position| *position >= 0)?;
            Some(Self {
                partition,
                position: Position::from(position),
            })
        };
        let place = text.split_once('/').and_then(read);
        place.ok_or("expected the place that a replay has printed, such as 7/12345")
    }
}

async fn again(applier: &Applier, partition: Partition, events: &[Logged], dry_run: bool) -> Result<Vec<Fate>, Halt> {
    let mut tries = 0;
    loop {
        let mut lane = Lane::load(&applier.pool, partition).await?;
        match applier.replay(&mut lane, events, dry_run).await {
            // A worker was in the partition in between.
            Err(Halt::Fenced) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

async fn positions(pool: &PgPool, partition: Partition, range: &Range, after: Position) -> sqlx::Result<Vec<Position>> {
    let numbers = sqlx::query_scalar!(
        "select l.position from rejoinder.event_log l
         where l.partition = $1 and l.position > $2 and l.received_at >= $3 and l.received_at < $4
             and ($5::text is null or l.event_type = $5)
             and l.position <= (select c.position from rejoinder.event_cursors c where c.partition = $1 order by c.seq desc limit 1)
             and not exists (select from rejoinder.parked_events p where p.partition = $1 and p.entity_id = l.entity_id
                 and p.position = l.position)
             and not exists (select from rejoinder.dead_letters d where d.position = l.position)
         order by l.position limit $6",
        partition.number(),
        after.number(),
        range.from,
        range.to,
        range.event_type,
        BATCH
    )
    .fetch_all(pool)
    .await?;
    Ok(Position::all(numbers))
}

fn difference(event: &Logged, fate: &Fate, before: &HashMap<Position, Value>) -> Option<Difference> {
    let mut before = before.get(&event.position).map_or(Value::Null, gist);
    let now = match fate {
        Fate::Unheard | Fate::Waits => Value::Null,
        Fate::Applied(outcomes) => {
            // What a join made of its events is not made again, so there is nothing to compare.
            let settled = outcomes.iter().filter(|outcome| outcome.is_settled());
            let settled: HashSet<&str> = settled.map(|outcome| outcome.rule.as_str()).collect();
            let is_open = |rule: &Value| !rule["rule"].as_str().is_some_and(|name| settled.contains(name));
            let mut now = gist(&outcome::shortened(json!(outcomes)));
            for rules in [&mut before, &mut now].into_iter().filter_map(Value::as_array_mut) {
                rules.retain(is_open);
            }
            now
        }
        Fate::Failed(failure) => json!({ "error": failure.to_string() }),
    };
    // A rule that has looked and done nothing is as good as one that has not looked.
    (acts(&before) != acts(&now)).then(|| Difference {
        event_id: event.envelope.event_id.clone(),
        event_type: event.envelope.event_type.clone(),
        entity_id: event.envelope.entity_id.clone(),
        before,
        now,
    })
}

/// An outcome without what became of its messages, which is another the second time.
fn gist(outcome: &Value) -> Value {
    let rules = outcome.as_array().into_iter().flatten();
    rules
        .map(|rule| match rule.get("why_not").filter(|why_not| !why_not.is_null()) {
            None => json!({"rule": rule["rule"], "effects": rule["effects"]}),
            Some(why_not) => json!({"rule": rule["rule"], "why_not": why_not}),
        })
        .collect()
}

fn acts(gist: &Value) -> Vec<&Value> {
    match gist.as_array() {
        Some(rules) => rules.iter().filter(|rule| rule["why_not"].is_null()).collect(),
        None if gist.is_null() => Vec::new(),
        None => vec![gist],
    }
}
