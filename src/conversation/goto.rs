//! Gotos: where a conversation goes at its next turn, and which conversations have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgExecutor};
use tracing::warn;
use uuid::Uuid;

use crate::event::position::Position;
use crate::platform;
use crate::reply::{Answer, FollowUp, KeptContext};
use crate::session::ContextId;
use crate::turn::{Api, Turn};

/// A conversation that has no turn for so long is not moved any more.
const EXPIRES: TimeDelta = TimeDelta::hours(24);

/// So many turns, the first not counted, a context lives that a goto has made.
const LIFESPAN: u32 = 5;

/// At most so many conversations with a goto are known at a time; another finds its goto when one of these has gone.
pub(super) const MAX_PENDING: i64 = 100_000;

/// A turn is moved by at most so many.
const MAX_TAKEN: i64 = 10;

/// How a conversation is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GotoKind {
    /// A context is active at the next turn.
    Context,
    /// The next turn is answered with a follow-up event.
    Event,
}

/// A row to add.
#[derive(Debug)]
pub(crate) struct NewGoto<'a> {
    pub(crate) id: Uuid,
    pub(crate) session: String,
    pub(crate) kind: GotoKind,
    pub(crate) name: &'a str,
    pub(crate) parameters: &'a Map<String, Value>,
    pub(crate) position: Position,
}

/// Adds rows; those that are there already stay as they are.
pub(crate) async fn add(connection: &mut PgConnection, now: DateTime<Utc>, gotos: &[NewGoto<'_>]) -> sqlx::Result<()> {
    if gotos.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = gotos.iter().map(|goto| goto.id).collect();
    let sessions: Vec<&str> = gotos.iter().map(|goto| goto.session.as_str()).collect();
    let kinds: Vec<&str> = gotos.iter().map(|goto| kind_name(goto.kind)).collect();
    let names: Vec<&str> = gotos.iter().map(|goto| goto.name).collect();
    let parameters: Vec<String> = gotos
        .iter()
        .map(|goto| serde_json::to_string(goto.parameters).unwrap_or_else(|_| "{}".to_owned()))
        .collect();
    let positions: Vec<Position> = gotos.iter().map(|goto| goto.position).collect();
    sqlx::query!(
        "insert into rejoinder.gotos (id, session, kind, name, parameters, position, created_at, expires_at)
         select n.id, n.session, n.kind, n.name, n.parameters::json, n.position, $7, $8
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
             as n (id, session, kind, name, parameters, position)
         on conflict (id) do nothing",
        &ids,
        sessions.as_slice() as &[&str],
        kinds.as_slice() as &[&str],
        names.as_slice() as &[&str],
        &parameters,
        &positions as &[Position],
        now,
        now + EXPIRES
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn kind_name(kind: GotoKind) -> &'static str {
    match kind {
        GotoKind::Context => "context",
        GotoKind::Event => "event",
    }
}

/// Which conversations have a goto that no turn has taken; the database is only asked for those.
pub(super) struct Pending {
    /// With a number for each time that one was learned of.
    sessions: moka::sync::Cache<String, u64>,
    learned: AtomicU64,
}

impl Pending {
    pub(super) fn new() -> Self {
        let ttl = EXPIRES.to_std().unwrap_or(Duration::from_secs(86_400));
        Self {
            sessions: moka::sync::Cache::builder()
                .max_capacity(MAX_PENDING as u64)
                .time_to_live(ttl)
                .build(),
            learned: AtomicU64::new(0),
        }
    }

    pub(super) fn learn(&self, session: &str) {
        let number = self.learned.fetch_add(1, Ordering::Relaxed);
        self.sessions.insert(session.to_owned(), number);
    }

    /// When one was learned of for this conversation; `None` where there is none.
    pub(super) fn of(&self, session: &str) -> Option<u64> {
        self.sessions.get(session)
    }

    /// There was none; unless another was learned of since.
    pub(super) fn clear(&self, session: &str, learned: u64) {
        self.sessions
            .entry_by_ref(session)
            .and_compute_with(|entry| match entry {
                Some(entry) if entry.value() == &learned => moka::ops::compute::Op::Remove,
                Some(_) | None => moka::ops::compute::Op::Nop,
            });
    }
}

/// The conversations that have one.
pub(super) async fn pending(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct session from rejoinder.gotos where taken_by is null and expires_at > $1 limit $2",
        now,
        MAX_PENDING
    )
    .fetch_all(executor)
    .await
}

/// Whether one waits for the next turn of this conversation.
pub(super) async fn is_waiting(executor: impl PgExecutor<'_>, session: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
            select from rejoinder.gotos where session = $1 and taken_by is null and expires_at > $2
        ) as "waits!""#,
        session,
        now
    )
    .fetch_one(executor)
    .await
}

/// Deletes those that are too old.
pub(super) async fn delete_expired(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("delete from rejoinder.gotos where expires_at <= $1", now)
        .execute(executor)
        .await?;
    Ok(())
}

/// Takes the conversation's gotos for one turn, which takes the same again when it is retried.
pub(super) async fn take(
    executor: impl PgExecutor<'_>,
    session: &str,
    taker: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Taken> {
    let mut rows = sqlx::query!(
        "update rejoinder.gotos set taken_by = $2
         where id in (
             select id from rejoinder.gotos
             where session = $1 and expires_at > $3 and coalesce(taken_by, $2) = $2
             order by position limit $4
         ) and coalesce(taken_by, $2) = $2
         returning kind, name, parameters, position",
        session,
        taker,
        now,
        MAX_TAKEN
    )
    .fetch_all(executor)
    .await?;
    rows.sort_by_key(|row| row.position);
    let mut taken = Taken::default();
    for row in rows {
        let parameters = match row.parameters {
            Value::Object(parameters) => parameters,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        };
        if row.kind == kind_name(GotoKind::Event) {
            taken.event = Some((row.name, parameters));
            continue;
        }
        match ContextId::parse(&row.name) {
            Ok(id) => {
                taken.contexts.retain(|context| context.id != id);
                taken.contexts.push(KeptContext {
                    id,
                    lifespan: LIFESPAN,
                    parameters,
                });
            }
            Err(error) => warn!(error = %error, position = row.position, "goto left out"),
        }
    }
    Ok(taken)
}

/// Where a turn goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    contexts: Vec<KeptContext>,
    event: Option<(String, Map<String, Value>)>,
}

impl Taken {
    pub(super) fn is_none(&self) -> bool {
        self.contexts.is_empty() && self.event.is_none()
    }

    /// The turn as the handler sees it: the contexts are active.
    pub(crate) fn turn(&self, turn: &Arc<Turn>) -> Arc<Turn> {
        if self.contexts.is_empty() {
            return Arc::clone(turn);
        }
        let mut moved = Turn::clone(turn);
        for context in &self.contexts {
            moved.keep(context);
        }
        Arc::new(moved)
    }

    /// The follow-up event that is the answer instead of the handler's, where the platform takes one.
    pub(crate) fn follow_up(&self, api: Api) -> Option<Answer> {
        let (event, parameters) = self.event.as_ref()?;
        if !platform::takes_events(api) {
            warn!(event.name = event, "goto left out: CX takes no event from a webhook");
            return None;
        }
        let follow_up = parameters
            .iter()
            .fold(FollowUp::event(event), |follow_up, (name, value)| {
                follow_up.parameter(name, value.clone())
            });
        if let Some(reason) = &follow_up.broken {
            warn!(reason, "goto left out");
            return None;
        }
        Some(follow_up.into())
    }

    /// The answer with the contexts in it, so that the platform keeps them; the handler's own of one id wins.
    pub(crate) fn kept_in(&self, mut answer: Answer) -> Answer {
        let contexts = match &mut answer {
            Answer::Reply(reply) => &mut reply.contexts,
            Answer::FollowUp(follow_up) => &mut follow_up.contexts,
        };
        for context in &self.contexts {
            if contexts.iter().all(|kept| kept.id != context.id) {
                contexts.push(context.clone());
            }
        }
        answer
    }
}

/// Erases those of these conversations; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, sessions: &[String]) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.gotos where session = any($1)", sessions);
    Ok(erased.execute(connection).await?.rows_affected())
}
