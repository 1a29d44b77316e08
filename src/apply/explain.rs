//! What became of an event, and why: put together from everything that was recorded of it.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::outcome::{self, Outcome};
use crate::event::position::Position;
use crate::intake::quarantine::{self, Quarantined};
use crate::log::audit::{self, Audited};
use crate::log::dead::{self, DeadLetter};
use crate::reactions::effects;

/// Everything that is recorded of an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Explanation {
    /// It is in the log.
    Logged(Box<Story>),
    /// Its schema refused it.
    Quarantined(Quarantined),
}

/// What became of an event that is in the log.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    event: Told,
    state: Progress,
    /// While it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<ParkedEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<DeadLetter>,
    /// What rules made of it, the last time first.
    outcomes: Vec<Outcome>,
    facts: Vec<Fact>,
    messages: Vec<Message>,
    audit: Vec<Audited>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Progress {
    /// It is in the log, and was not come to yet.
    Waiting,
    /// It waits to be tried again.
    Parked,
    /// It was given up.
    Dead,
    /// It was come to, and no rule listens to it.
    Unheard,
    /// Rules have judged it.
    Applied,
}

#[derive(Debug, Serialize)]
struct Told {
    position: Position,
    partition: i16,
    source: String,
    event_id: String,
    event_type: String,
    entity_id: String,
    user_id: Option<String>,
    schema_version: i32,
    occurred_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
    payload: Option<Box<RawValue>>,
    traceparent: Option<String>,
}

#[derive(Debug, Serialize)]
struct ParkedEvent {
    attempts: i32,
    /// None while it waits behind another event of its entity, or for a rule that is held.
    retry_at: Option<DateTime<Utc>>,
    error: Option<String>,
    /// The rule that failed the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Whether that rule is held: it fails for most of its events.
    is_held: bool,
}

#[derive(Debug, Serialize)]
struct Fact {
    scope: String,
    subject: String,
    name: String,
    value: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Message {
    rule: String,
    channel: String,
    user_id: Option<String>,
    session: Option<String>,
    state: String,
    reason: Option<String>,
    attempts: i32,
    done_at: Option<DateTime<Utc>>,
}

/// What became of the events with this id; from several sources there may be several.
pub(crate) async fn explain(pool: &PgPool, event_id: &str) -> sqlx::Result<Vec<Explanation>> {
    let events = sqlx::query!(
        "select position, partition, source, event_id, event_type, entity_id, user_id, schema_version, occurred_at,
             received_at, payload::text as payload, traceparent
         from rejoinder.event_log where event_id = $1 order by position limit 20",
        event_id
    )
    .fetch_all(pool)
    .await?;
    let mut explained = Vec::new();
    for row in events {
        let event = Told {
            position: row.position.into(),
            partition: row.partition,
            source: row.source,
            event_id: row.event_id,
            event_type: row.event_type,
            entity_id: row.entity_id,
            user_id: row.user_id,
            schema_version: row.schema_version,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            payload: row.payload.map(raw),
            traceparent: row.traceparent,
        };
        explained.push(Explanation::Logged(Box::new(story(pool, event).await?)));
    }
    let kept = quarantine::list(pool, None, Some(event_id), 20).await?;
    explained.extend(kept.into_iter().map(Explanation::Quarantined));
    Ok(explained)
}

async fn story(pool: &PgPool, event: Told) -> sqlx::Result<Story> {
    let position = event.position;
    let cursor = sqlx::query_scalar!(
        "select position from rejoinder.event_cursors where partition = $1 order by seq desc limit 1",
        event.partition
    )
    .fetch_optional(pool)
    .await?;
    let parked = sqlx::query_as!(
        ParkedEvent,
        r#"select attempts, nullif(retry_at, 'infinity') as retry_at, error, rule,
               rule is not null and retry_at = 'infinity' as "is_held!" from rejoinder.parked_events
           where partition = $1 and entity_id = $2 and position = $3"#,
        event.partition,
        event.entity_id,
        position.number()
    )
    .fetch_optional(pool)
    .await?;
    let letters = dead::list(pool, Some(&event.event_id), 100).await?;
    let dead = letters.into_iter().find(|letter| letter.position == position);
    let outcomes = outcome::of(pool, position).await?;
    let facts = sqlx::query!(
        r#"select scope, subject, name, value::text as "value!" from rejoinder.facts where position = $1
           order by scope, subject, name limit 100"#,
        position.number()
    )
    .fetch_all(pool)
    .await?;
    let messages = sqlx::query_as!(
        Message,
        "select rule, channel, user_id, session, state, reason, attempts, done_at from rejoinder.outbox where position = $1
         order by rule, channel, user_id, session limit 100",
        position.number()
    )
    .fetch_all(pool)
    .await?;
    let state = match (&parked, &dead) {
        (Some(_), _) => Progress::Parked,
        (None, Some(_)) => Progress::Dead,
        (None, None) if cursor.is_none_or(|cursor| Position::from(cursor) < position) => Progress::Waiting,
        (None, None) if outcomes.is_empty() => Progress::Unheard,
        (None, None) => Progress::Applied,
    };
    let of_it = audit::Filter {
        position: Some(position),
        ..audit::Filter::default()
    };
    Ok(Story {
        event,
        state,
        parked,
        dead,
        outcomes,
        facts: facts
            .into_iter()
            .map(|row| Fact {
                scope: row.scope,
                subject: row.subject,
                name: row.name,
                value: raw(row.value),
            })
            .collect(),
        messages,
        audit: audit::list(pool, &of_it, 100).await?,
    })
}

impl Explanation {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let written = match self {
            Self::Logged(story) => story.write(&mut text),
            Self::Quarantined(kept) => writeln!(
                text,
                "event {} ({}) from {}\n  came      {}\n  state     in quarantine until {}\n  because   {}\n  envelope  {}",
                kept.event_id,
                kept.event_type,
                kept.source,
                kept.received_at,
                kept.expires_at,
                kept.violations,
                kept.envelope
            ),
        };
        written.ok();
        text.trim_end().to_owned()
    }
}

impl Story {
    fn write(&self, to: &mut String) -> std::fmt::Result {
        let event = &self.event;
        writeln!(
            to,
            "event {} ({} version {})",
            event.event_id, event.event_type, event.schema_version
        )?;
        writeln!(to, "  source    {}", event.source)?;
        writeln!(to, "  entity    {} (partition {})", event.entity_id, event.partition)?;
        if let Some(user) = &event.user_id {
            writeln!(to, "  user      {user}")?;
        }
        writeln!(
            to,
            "  happened  {}, stored {} at position {}",
            event.occurred_at, event.received_at, event.position
        )?;
        let payload = event.payload.as_ref().map_or("(erased)", |payload| payload.get());
        writeln!(to, "  payload   {payload}")?;
        let state = match self.state {
            Progress::Waiting => "waits to be applied",
            Progress::Parked => "parked",
            Progress::Dead => "dead",
            Progress::Unheard if event.payload.is_none() => "applied; what came of it is erased",
            Progress::Unheard => "applied; no rule listens to it",
            Progress::Applied => "applied",
        };
        writeln!(to, "  state     {state}")?;
        if let Some(parked) = &self.parked {
            let error = parked
                .error
                .as_deref()
                .unwrap_or("waits behind another event of its entity");
            let next = parked.retry_at.map(|at| format!("; next try {at}")).unwrap_or_default();
            writeln!(to, "    tried {} times: {error}{next}", parked.attempts)?;
            if let (Some(rule), true) = (&parked.rule, parked.is_held) {
                writeln!(
                    to,
                    "    rule {rule} is held: it fails for most of its events; they are applied once it is mended"
                )?;
            }
        }
        if let Some(dead) = &self.dead {
            writeln!(
                to,
                "    tried {} times, given up {}: {}",
                dead.attempts, dead.died_at, dead.error
            )?;
        }
        for outcome in &self.outcomes {
            writeln!(to, "  rules, {}", outcome.applied_at)?;
            let rules: Value = serde_json::from_str(outcome.rules.get()).unwrap_or_default();
            for rule in rules.as_array().into_iter().flatten() {
                write_rule(to, rule)?;
            }
        }
        for fact in &self.facts {
            writeln!(
                to,
                "  fact      {} {}: {} = {}",
                fact.scope, fact.subject, fact.name, fact.value
            )?;
        }
        for message in &self.messages {
            let reason = message
                .reason
                .as_ref()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            let whom = message.session.as_ref().or(message.user_id.as_ref());
            let whom = whom.map(|whom| format!(" to {whom}")).unwrap_or_default();
            writeln!(
                to,
                "  message   {}{whom}, rule {}: {}{reason}",
                message.channel, message.rule, message.state
            )?;
        }
        for entry in &self.audit {
            writeln!(
                to,
                "  audit     {} {} {}: {}",
                entry.at, entry.actor, entry.action, entry.detail
            )?;
        }
        Ok(())
    }
}

fn write_rule(to: &mut String, rule: &Value) -> std::fmt::Result {
    let name = rule["rule"].as_str().unwrap_or_default();
    match rule["why_not"].as_str() {
        Some(why_not) => writeln!(to, "    {name}: did nothing, {why_not}"),
        None => {
            let effects = rule["effects"].as_array().into_iter().flatten();
            let kinds: Vec<&str> = effects.filter_map(|effect| effect["action"].as_str()).collect();
            let matched = match rule["kind"].as_str() {
                Some(_) => "its time was over",
                None => "matched",
            };
            writeln!(to, "    {name}: {matched}; {}", kinds.join(", "))?;
            for remark in effects::remarks(rule) {
                writeln!(to, "      {}", remark.text)?;
            }
            Ok(())
        }
    }
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
