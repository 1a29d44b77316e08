//! Applying old events again, through the rules of today.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::apply::{Applier, Fate, Halt, Lane};
use super::envelope::PARTITIONS;
use super::log::{self, Logged};
use super::{join, outcome};

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
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) entity_id: String,
    /// What rules made of it the last time; null: no rule listened.
    pub(crate) before: Value,
    /// What they make of it now.
    pub(crate) now: Value,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Replayed {
    /// Events that were applied again.
    pub(crate) events: usize,
    /// Those of which something else came.
    pub(crate) differences: Vec<Difference>,
}

/// How many events there are to replay.
pub(crate) async fn count(pool: &PgPool, range: &Range) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from event_log
           where received_at >= $1 and received_at < $2 and ($3::text is null or event_type = $3)"#,
        range.from,
        range.to,
        range.event_type
    )
    .fetch_one(pool)
    .await
}

/// Applies events again, each partition in order. Those that wait, are parked or dead are left to the workers.
///
/// What an event has done before is not done twice: facts that are newer stay, messages that went out do not go out
/// again, joins that have acted do not act again. A dry run changes nothing and runs no action written in Rust.
/// `progress` is told how many events are done.
///
/// # Errors
/// When the database fails, or a worker is in the way for too long.
pub(crate) async fn replay(
    applier: &Applier,
    range: &Range,
    dry_run: bool,
    mut progress: impl FnMut(usize),
) -> Result<Replayed, Halt> {
    let mut replayed = Replayed::default();
    for partition in 0..PARTITIONS {
        let mut after = 0;
        loop {
            let positions = positions(&applier.pool, partition, range, after).await?;
            let Some(last) = positions.last() else { break };
            after = *last;
            let events = log::at(&applier.pool, partition, &positions).await?;
            let before = outcome::latest(&applier.pool, &positions).await?;
            let fates = again(applier, partition, &events, dry_run).await?;
            replayed.events += events.len();
            let differences = events.iter().zip(&fates);
            replayed
                .differences
                .extend(differences.filter_map(|(event, fate)| difference(event, fate, &before)));
            progress(replayed.events);
        }
    }
    join::end_replay(&applier.pool).await?;
    Ok(replayed)
}

async fn again(applier: &Applier, partition: u8, events: &[Logged], dry_run: bool) -> Result<Vec<Fate>, Halt> {
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

async fn positions(pool: &PgPool, partition: u8, range: &Range, after: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select l.position from event_log l
         where l.partition = $1 and l.position > $2 and l.received_at >= $3 and l.received_at < $4
             and ($5::text is null or l.event_type = $5)
             and l.position <= (select c.position from event_cursors c where c.partition = $1 order by c.seq desc limit 1)
             and not exists (select from parked_events p where p.partition = $1 and p.entity_id = l.entity_id
                 and p.position = l.position)
             and not exists (select from dead_letters d where d.position = l.position)
         order by l.position limit $6",
        i16::from(partition),
        after,
        range.from,
        range.to,
        range.event_type,
        BATCH
    )
    .fetch_all(pool)
    .await
}

fn difference(event: &Logged, fate: &Fate, before: &HashMap<i64, Value>) -> Option<Difference> {
    let now = match fate {
        Fate::Unheard | Fate::Waits => Value::Null,
        Fate::Applied(outcomes) => gist(&json!(outcomes)),
        Fate::Failed(error) => json!({ "error": error }),
    };
    let before = before.get(&event.position).map_or(Value::Null, gist);
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
        .map(|rule| match &rule["why_not"] {
            Value::Null => json!({"rule": rule["rule"], "effects": rule["effects"]}),
            why_not => json!({"rule": rule["rule"], "why_not": why_not}),
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
