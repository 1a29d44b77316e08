//! What came of each event that a rule listens to, kept to be explained later.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgExecutor};

use crate::apply::{Fate, RuleOutcome};
use crate::event::position::Position;
use crate::log::Logged;

/// What came of an event at one time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) applied_at: DateTime<Utc>,
    /// An array with an object for each rule that listens.
    pub(crate) rules: Box<RawValue>,
}

/// What is longer than this in an effect, in bytes of JSON, is kept as its length and hash.
const MAX_KEPT: usize = 512;

/// The outcome as it is kept: of an effect's long values, what tells two apart.
fn kept(rules: &[RuleOutcome]) -> serde_json::Result<String> {
    let text = serde_json::to_string(rules)?;
    if text.len() <= MAX_KEPT {
        return Ok(text);
    }
    serde_json::to_string(&shortened(serde_json::to_value(rules)?))
}

/// An outcome with the long values of its effects shortened; the same for one that is so already.
pub(crate) fn shortened(mut outcome: Value) -> Value {
    let rules = outcome.as_array_mut().into_iter().flatten();
    let effects = rules
        .filter_map(|rule| rule.get_mut("effects")?.as_array_mut())
        .flatten();
    for value in effects.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let text = value.to_string();
        if text.len() > MAX_KEPT {
            let hash = hex::encode(&Sha256::digest(&text)[..16]);
            *value = json!({"bytes": text.len(), "sha256": hash});
        }
    }
    outcome
}

/// Writes the outcomes of those events that rules have looked at.
pub(crate) async fn write<'a>(
    transaction: &mut PgConnection,
    events: impl Iterator<Item = (&'a Logged, &'a Fate)>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (mut positions, mut times, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for (event, fate) in events {
        let Fate::Applied(rules) = fate else { continue };
        positions.push(event.position);
        times.push(event.received_at);
        outcomes.push(kept(rules).map_err(|error| sqlx::Error::Encode(error.into()))?);
    }
    if positions.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into rejoinder.event_outcomes (position, received_at, applied_at, outcome)
         select o.position, o.received_at, $4, o.outcome::json
         from unnest($1::bigint[], $2::timestamptz[], $3::text[]) o (position, received_at, outcome)",
        &positions as &[Position],
        &times,
        &outcomes,
        now
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// What came of the event at this position, the last time first.
pub(crate) async fn of(executor: impl PgExecutor<'_>, position: Position) -> sqlx::Result<Vec<Outcome>> {
    let rows = sqlx::query!(
        r#"select applied_at, outcome::text as "outcome!" from rejoinder.event_outcomes where position = $1
           order by applied_at desc limit 20"#,
        position.number()
    )
    .fetch_all(executor)
    .await?;
    let outcomes = rows.into_iter().map(|row| Outcome {
        applied_at: row.applied_at,
        rules: RawValue::from_string(row.outcome).unwrap_or_else(|_| RawValue::NULL.to_owned()),
    });
    Ok(outcomes.collect())
}

/// Which rules have acted on which of these events, whenever that was.
pub(crate) async fn acted(
    executor: impl PgExecutor<'_>,
    events: &[Logged],
) -> sqlx::Result<HashSet<(Position, String)>> {
    let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
    let rows = sqlx::query!(
        r#"select o.position, r.value->>'rule' as "rule!" from rejoinder.event_outcomes o, json_array_elements(o.outcome) r
           where o.position = any($1) and r.value->>'why_not' is null and r.value->>'rule' is not null
               and r.value->>'kind' is null"#,
        &positions as &[Position]
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.position.into(), row.rule)).collect())
}

/// What came of each of these events the last time it was applied, where a rule listened; not what the time-outs of joins
/// did.
pub(crate) async fn latest(
    executor: impl PgExecutor<'_>,
    positions: &[Position],
) -> sqlx::Result<HashMap<Position, Value>> {
    let rows = sqlx::query!(
        r#"select distinct on (position) position, outcome::text as "outcome!" from rejoinder.event_outcomes
           where position = any($1) and outcome->0->>'kind' is null
           order by position, applied_at desc"#,
        positions as &[Position]
    )
    .fetch_all(executor)
    .await?;
    let read = |text: &str| shortened(serde_json::from_str(text).unwrap_or_default());
    Ok(rows
        .iter()
        .map(|row| (row.position.into(), read(&row.outcome)))
        .collect())
}

/// Erases what came of these events; returns how many there were.
pub(crate) async fn forget(connection: &mut PgConnection, positions: &[Position]) -> sqlx::Result<u64> {
    let erased = sqlx::query!(
        "delete from rejoinder.event_outcomes where position = any($1)",
        positions as &[Position]
    );
    Ok(erased.execute(connection).await?.rows_affected())
}
