//! What events there are, and how far each has come: the newest first, those that have failed with the reason.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::outcome;
use crate::event::partition::{Partition, Partitions};
use crate::event::position::Position;
use crate::reactions::effects;

/// So many messages that were not sent are told of at most, for all events that are listed.
const MAX_UNSENT: i64 = 10_000;

/// How far an event has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Waits to be applied
    Waiting,
    /// Has failed and is tried again, or waits behind one of its entity that has
    Parked,
    /// Rules have looked at it, or none listens
    Applied,
    /// Was tried too often
    Dead,
    /// No schema takes it
    Quarantined,
}

/// Which events are listed.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) entity_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) state: Option<Stage>,
    /// Those that came from then on.
    pub(crate) since: Option<DateTime<Utc>>,
    /// At most so many.
    pub(crate) limit: i64,
}

/// An event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) entity_id: Option<String>,
    pub(crate) source: String,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) state: Stage,
    /// In the log; none in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Position>,
    /// How often it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<i32>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<DateTime<Utc>>,
    /// Why it is not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What it led to and was not sent, or not yet, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unsent: Vec<String>,
}

impl Listed {
    /// With nothing but what all have.
    fn new(event_id: String, event_type: String, source: String, received_at: DateTime<Utc>, state: Stage) -> Self {
        Self {
            event_id,
            event_type,
            entity_id: None,
            source,
            received_at,
            state,
            position: None,
            attempts: None,
            retry_at: None,
            error: None,
            unsent: Vec::new(),
        }
    }
}

/// Lists events, at most as many as the filter says.
pub(crate) async fn list(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Listed>> {
    let is_sought = |state| filter.state.is_none_or(|sought| sought == state);
    let mut listed = Vec::new();
    if is_sought(Stage::Waiting) || is_sought(Stage::Applied) {
        listed.extend(logged(pool, filter).await?);
    }
    if is_sought(Stage::Parked) {
        listed.extend(parked(pool, filter).await?);
    }
    if is_sought(Stage::Dead) {
        listed.extend(dead(pool, filter).await?);
    }
    if is_sought(Stage::Quarantined) {
        listed.extend(quarantined(pool, filter).await?);
    }
    if filter.state.is_none() {
        listed.sort_by_key(|event| std::cmp::Reverse((event.received_at, event.position)));
        listed.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
    }
    let positions: Vec<Position> = listed.iter().filter_map(|event| event.position).collect();
    let mut unsent = unsent(pool, &positions).await?;
    for event in &mut listed {
        let found = event.position.and_then(|position| unsent.remove(&position));
        event.unsent = found.unwrap_or_default();
    }
    Ok(listed)
}

/// Those in the log that are neither parked nor dead.
async fn logged(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Listed>> {
    let partitions = match &filter.entity_id {
        Some(entity) => Partition::of(entity).into(),
        None => Partitions::ALL,
    };
    let rows = sqlx::query!(
        r#"select l.position, l.source, l.event_id, l.event_type, l.entity_id, l.received_at,
               l.position > done.position as "is_waiting!"
           from unnest($1::smallint[]) p (partition)
           cross join lateral (
               select coalesce((select c.position from rejoinder.event_cursors c where c.partition = p.partition
                                order by c.seq desc limit 1), 0) as position
           ) done
           cross join lateral (
               select l.* from rejoinder.event_log l
               where l.partition = p.partition
                   and ($2::boolean is null or (l.position > done.position) = $2)
                   and ($3::text is null or l.entity_id = $3)
                   and ($4::text is null or l.event_type = $4)
                   and ($5::timestamptz is null or l.received_at >= $5)
                   and not exists (select from rejoinder.parked_events e where e.partition = l.partition
                       and e.entity_id = l.entity_id and e.position = l.position)
                   and not exists (select from rejoinder.dead_letters d where d.position = l.position)
               -- each partition by its index, backwards
               order by l.position desc limit $6
           ) l
           order by l.position desc limit $6"#,
        &partitions.numbers(),
        filter.state.map(|state| state == Stage::Waiting),
        filter.entity_id,
        filter.event_type,
        filter.since,
        filter.limit
    )
    .fetch_all(pool)
    .await?;
    let events = rows.into_iter().map(|row| Listed {
        entity_id: Some(row.entity_id),
        position: Some(row.position.into()),
        ..Listed::new(
            row.event_id,
            row.event_type,
            row.source,
            row.received_at,
            if row.is_waiting { Stage::Waiting } else { Stage::Applied },
        )
    });
    Ok(events.collect())
}

/// Those that have failed come before those that wait behind them.
async fn parked(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        r#"select l.position, l.source, l.event_id, l.event_type, l.entity_id, l.received_at, p.attempts,
               nullif(p.retry_at, 'infinity') as retry_at, p.error
           from rejoinder.parked_events p
           join rejoinder.event_log l on l.partition = p.partition and l.position = p.position and l.received_at = p.received_at
           where ($1::text is null or p.entity_id = $1)
               and ($2::text is null or l.event_type = $2)
               and ($3::timestamptz is null or p.received_at >= $3)
           order by p.attempts = 0, p.position desc limit $4"#,
        filter.entity_id,
        filter.event_type,
        filter.since,
        filter.limit
    )
    .fetch_all(pool)
    .await?;
    let events = rows.into_iter().map(|row| Listed {
        entity_id: Some(row.entity_id),
        position: Some(row.position.into()),
        attempts: Some(row.attempts),
        retry_at: row.retry_at,
        error: row.error,
        ..Listed::new(row.event_id, row.event_type, row.source, row.received_at, Stage::Parked)
    });
    Ok(events.collect())
}

async fn dead(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        "select position, source, event_id, event_type, entity_id, received_at, attempts, error from rejoinder.dead_letters
         where ($1::text is null or entity_id = $1)
             and ($2::text is null or event_type = $2)
             and ($3::timestamptz is null or received_at >= $3)
         order by position desc limit $4",
        filter.entity_id,
        filter.event_type,
        filter.since,
        filter.limit
    )
    .fetch_all(pool)
    .await?;
    let events = rows.into_iter().map(|row| Listed {
        entity_id: Some(row.entity_id),
        position: Some(row.position.into()),
        attempts: Some(row.attempts),
        error: Some(row.error),
        ..Listed::new(row.event_id, row.event_type, row.source, row.received_at, Stage::Dead)
    });
    Ok(events.collect())
}

async fn quarantined(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        "select source, event_id, event_type, envelope->>'entity_id' as entity_id, received_at, violations
         from rejoinder.quarantined_events
         where ($1::text is null or envelope->>'entity_id' = $1)
             and ($2::text is null or event_type = $2)
             and ($3::timestamptz is null or received_at >= $3)
         order by received_at desc limit $4",
        filter.entity_id,
        filter.event_type,
        filter.since,
        filter.limit
    )
    .fetch_all(pool)
    .await?;
    let events = rows.into_iter().map(|row| Listed {
        entity_id: row.entity_id,
        error: Some(violations(&row.violations)),
        ..Listed::new(
            row.event_id,
            row.event_type,
            row.source,
            row.received_at,
            Stage::Quarantined,
        )
    });
    Ok(events.collect())
}

/// What is wrong with an event in quarantine.
pub(crate) fn violations(violations: &Value) -> String {
    let told = violations.as_array().into_iter().flatten().map(|violation| {
        let text = |name: &str| violation[name].as_str().unwrap_or_default();
        format!("{}: {}", text("pointer"), text("message"))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What the events at these positions led to and was not sent: messages and calls, and notifications that reached nobody.
async fn unsent(pool: &PgPool, positions: &[Position]) -> sqlx::Result<HashMap<Position, Vec<String>>> {
    let rows = sqlx::query!(
        "select position, rule, channel, coalesce(session, user_id) as whom, state, reason, attempts from rejoinder.outbox
         where position = any($1) and state <> 'sent' order by position, rule, channel, whom limit $2",
        positions as &[Position],
        MAX_UNSENT
    )
    .fetch_all(pool)
    .await?;
    let mut unsent: HashMap<Position, Vec<String>> = HashMap::new();
    for row in rows {
        let whom = row.whom.map(|whom| format!(" to {whom}")).unwrap_or_default();
        let reason = row.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let tried = match row.attempts {
            0 => String::new(),
            attempts => format!(", tried {attempts} times"),
        };
        let told = format!("{}{whom}, rule {}: {}{reason}{tried}", row.channel, row.rule, row.state);
        unsent.entry(row.position.into()).or_default().push(told);
    }
    for (position, rules) in outcome::latest(pool, positions).await? {
        for rule in rules.as_array().into_iter().flatten() {
            let name = rule["rule"].as_str().unwrap_or_default();
            let nobody = effects::remarks(rule).into_iter().filter(|remark| remark.is_nobody);
            let told = nobody.map(|remark| format!("rule {name}: {}", remark.text));
            unsent.entry(position).or_default().extend(told);
        }
    }
    Ok(unsent)
}
