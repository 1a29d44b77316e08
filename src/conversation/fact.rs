//! Facts: what the conversation's memory holds about an entity, a user or a session.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgExecutor};

use crate::event::position::Position;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FactScope {
    /// An entity, such as an order.
    Entity,
    /// A user.
    User,
    /// One conversation.
    Session,
}

impl FactScope {
    /// As the table `facts` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::User => "user",
            Self::Session => "session",
        }
    }
}

/// What is known about one subject, by name.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, Fact>);

/// Something that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// What is known.
    pub value: Value,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Position in the log of the latest event that it takes into account; `None` where a turn set it.
    pub position: Option<i64>,
}

impl Facts {
    /// The value of this name, where it is known and is a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(&self.0.get(name)?.value).ok()
    }

    /// The fact of this name.
    pub fn fact(&self, name: &str) -> Option<&Fact> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }
}

/// Facts that events set, to be written at once: of two of one name, the one of the later event stays.
#[derive(Debug, Default)]
pub(crate) struct NewFacts<'a>(BTreeMap<(FactScope, String, &'a str), NewFact<'a>>);

/// What an event says of a fact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFact<'a> {
    /// The event's, in the log.
    pub(crate) position: Position,
    pub(crate) value: &'a Value,
    /// Whether it is written over what a later event has set.
    pub(crate) is_forced: bool,
}

/// Facts that were written: scope, subject and name.
#[derive(Debug, Default)]
pub(crate) struct Written(HashSet<(String, String, String)>);

impl<'a> NewFacts<'a> {
    pub(crate) fn set(&mut self, scope: FactScope, subject: String, name: &'a str, fact: NewFact<'a>) {
        let known = self.0.entry((scope, subject, name)).or_insert(fact);
        if known.position <= fact.position {
            *known = fact;
        }
    }

    /// Writes them, but over none that a later event has set, unless that is forced.
    pub(crate) async fn write(&self, connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Written> {
        let mut written = Written::default();
        for is_forced in [false, true] {
            // In the order of their keys, so that two transactions never wait for each other.
            let (mut scopes, mut subjects, mut names) = (Vec::new(), Vec::new(), Vec::new());
            let (mut values, mut positions) = (Vec::new(), Vec::new());
            for ((scope, subject, name), fact) in self.0.iter().filter(|(_, fact)| fact.is_forced == is_forced) {
                scopes.push(scope.name());
                subjects.push(subject.as_str());
                names.push(*name);
                values.push(fact.value.to_string());
                positions.push(fact.position);
            }
            if scopes.is_empty() {
                continue;
            }
            let rows = sqlx::query!(
                "insert into rejoinder.facts (scope, subject, name, value, position, set_at)
                 select n.scope, n.subject, n.name, n.value::json, n.position, $6
                 from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
                     as n (scope, subject, name, value, position)
                 on conflict (scope, subject, name) do update
                 set value = excluded.value, position = greatest(facts.position, excluded.position),
                     set_at = excluded.set_at
                 -- an event that is applied again sets nothing back
                 where $7 or facts.position is null or facts.position <= excluded.position
                 returning scope, subject, name",
                scopes.as_slice() as &[&str],
                subjects.as_slice() as &[&str],
                names.as_slice() as &[&str],
                &values,
                &positions as &[Position],
                now,
                is_forced
            )
            .fetch_all(&mut *connection)
            .await?;
            written
                .0
                .extend(rows.into_iter().map(|row| (row.scope, row.subject, row.name)));
        }
        Ok(written)
    }
}

impl Written {
    pub(crate) fn has(&self, scope: &str, subject: &str, name: &str) -> bool {
        self.0
            .contains(&(scope.to_owned(), subject.to_owned(), name.to_owned()))
    }
}

/// What is known about the subject. One that was forgotten stays as a null, so that no older event brings it back.
pub(crate) async fn about(executor: impl PgExecutor<'_>, scope: FactScope, subject: &str) -> sqlx::Result<Facts> {
    let rows = sqlx::query!(
        "select name, value, position, set_at from rejoinder.facts where scope = $1 and subject = $2",
        scope.name(),
        subject
    )
    .fetch_all(executor)
    .await?;
    let known = rows.into_iter().filter(|row| !row.value.is_null());
    let facts = known.map(|row| {
        let fact = Fact {
            value: row.value,
            set_at: row.set_at,
            position: row.position,
        };
        (row.name, fact)
    });
    Ok(Facts(facts.collect()))
}

/// What is known about each of these entities: name and value; a fact that was forgotten is null.
pub(crate) async fn about_entities(
    executor: impl PgExecutor<'_>,
    entities: &[String],
) -> sqlx::Result<HashMap<String, Map<String, Value>>> {
    let rows = sqlx::query!(
        "select subject, name, value from rejoinder.facts where scope = 'entity' and subject = any($1)",
        entities
    )
    .fetch_all(executor)
    .await?;
    let mut known: HashMap<String, Map<String, Value>> = HashMap::new();
    for row in rows {
        known.entry(row.subject).or_default().insert(row.name, row.value);
    }
    Ok(known)
}

/// Sets a fact as a turn knows it, whatever was known before; null forgets it.
pub(crate) async fn set(
    executor: impl PgExecutor<'_>,
    scope: FactScope,
    subject: &str,
    name: &str,
    value: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.facts (scope, subject, name, value, set_at) values ($1, $2, $3, $4, $5)
         on conflict (scope, subject, name) do update
         set value = excluded.value, position = null, set_at = excluded.set_at",
        scope.name(),
        subject,
        name,
        value,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// What was remembered of the session while it had nobody is the user's, where nothing of that name is.
pub(super) async fn hand_over(connection: &mut PgConnection, session: &str, user_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "with moved as (delete from rejoinder.facts where scope = 'user' and subject = $1 returning name, value, position, set_at)
         insert into rejoinder.facts (scope, subject, name, value, position, set_at)
         select 'user', $2, name, value, position, set_at from moved
         on conflict (scope, subject, name) do nothing",
        session,
        user_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Erases what is remembered of a user and their conversations, and what events that concern them have set; returns how
/// many.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    user_id: &str,
    sessions: &[String],
    positions: &[Position],
) -> sqlx::Result<u64> {
    let erased = sqlx::query!(
        "delete from rejoinder.facts
         where (scope in ('user', 'entity') and subject = $1) or (scope = 'session' and subject = any($2))
             or (scope = 'entity' and position = any($3))",
        user_id,
        sessions,
        positions as &[Position]
    );
    Ok(erased.execute(connection).await?.rows_affected())
}
