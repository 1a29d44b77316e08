//! Users: whose a conversation is, what they follow, and whom an effect reaches.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::effect::Applied;
use super::{fact, preferences, subscription};
use crate::effect::{Effect, Recipient};
use crate::session::SessionName;

/// A user is reached in so many conversations, the latest.
const MAX_SESSIONS: i64 = 20;

/// Whom the effects of a batch reach.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    followers: HashMap<String, Vec<String>>,
    sessions: HashMap<String, Vec<String>>,
    owners: HashMap<String, String>,
}

impl Recipients {
    /// Looks up whom `effects` reach, in at most three statements; in none when no effect is about somebody.
    pub(super) async fn find(connection: &mut PgConnection, effects: &[Applied<'_>]) -> sqlx::Result<Self> {
        let (mut entities, mut users, mut sessions) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut reached = false;
        for applied in effects {
            let to = match applied.effect {
                Effect::Remember { about: to, .. } => to,
                Effect::Notify { to, .. } | Effect::Goto { to, .. } => {
                    reached = true;
                    match to {
                        Recipient::User(user) => drop(users.insert(user.clone())),
                        Recipient::Session(session) => drop(sessions.insert(session.clone())),
                        Recipient::Followers(_) | Recipient::Entity(_) => {}
                    }
                    to
                }
                Effect::Call(_) | Effect::Emit { .. } | Effect::Run { .. } => continue,
            };
            if let Recipient::Followers(entity) = to {
                entities.insert(entity.clone());
            }
        }
        let mut recipients = Self::default();
        if !entities.is_empty() {
            let entities: Vec<String> = entities.into_iter().collect();
            recipients.followers = followers(&mut *connection, &entities).await?;
        }
        if reached {
            users.extend(recipients.followers.values().flatten().cloned());
        }
        if !users.is_empty() {
            let users: Vec<String> = users.into_iter().collect();
            recipients.sessions = sessions_of(&mut *connection, &users).await?;
        }
        if !sessions.is_empty() {
            let sessions: Vec<String> = sessions.into_iter().collect();
            recipients.owners = owners(&mut *connection, &sessions).await?;
        }
        Ok(recipients)
    }

    /// The users that `to` names; those of a session are its user.
    pub(super) fn users<'a>(&'a self, to: &'a Recipient) -> Vec<&'a str> {
        match to {
            Recipient::Followers(entity) => self
                .followers
                .get(entity)
                .map(|users| users.iter().map(String::as_str).collect())
                .unwrap_or_default(),
            Recipient::User(user) => vec![user],
            Recipient::Session(session) => vec![self.owners.get(session).unwrap_or(session)],
            Recipient::Entity(_) => Vec::new(),
        }
    }

    /// The conversations that `to` names, for one of its users.
    pub(super) fn sessions<'a>(&'a self, to: &'a Recipient, user: &'a str) -> Vec<&'a str> {
        match to {
            Recipient::Session(session) => vec![session],
            Recipient::Followers(_) | Recipient::User(_) => match self.sessions.get(user) {
                Some(sessions) => sessions.iter().map(String::as_str).collect(),
                // Nobody is identified there: the session is its own user.
                None if SessionName::parse(user).is_ok() => vec![user],
                None => Vec::new(),
            },
            Recipient::Entity(_) => Vec::new(),
        }
    }
}

async fn followers(executor: impl PgExecutor<'_>, entities: &[String]) -> sqlx::Result<HashMap<String, Vec<String>>> {
    let rows = sqlx::query!(
        "select entity_id, user_id from rejoinder.follows where entity_id = any($1) order by entity_id, user_id",
        entities
    )
    .fetch_all(executor)
    .await?;
    let mut followers: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        followers.entry(row.entity_id).or_default().push(row.user_id);
    }
    Ok(followers)
}

async fn sessions_of(executor: impl PgExecutor<'_>, users: &[String]) -> sqlx::Result<HashMap<String, Vec<String>>> {
    let rows = sqlx::query!(
        r#"select u.user_id as "user_id!", c.session
           from unnest($1::text[]) as u (user_id)
           cross join lateral (
               select session from rejoinder.conversations where user_id = u.user_id order by seen_at desc, session limit $2
           ) c"#,
        users,
        MAX_SESSIONS
    )
    .fetch_all(executor)
    .await?;
    let mut sessions: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        sessions.entry(row.user_id).or_default().push(row.session);
    }
    Ok(sessions)
}

async fn owners(executor: impl PgExecutor<'_>, sessions: &[String]) -> sqlx::Result<HashMap<String, String>> {
    let rows = sqlx::query!(
        "select session, user_id from rejoinder.conversations where session = any($1)",
        sessions
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.session, row.user_id)).collect())
}

/// The session's user; its own name while nobody is identified.
pub(crate) async fn of_session(executor: impl PgExecutor<'_>, session: &str) -> sqlx::Result<String> {
    let user = sqlx::query_scalar!(
        "select user_id from rejoinder.conversations where session = $1",
        session
    )
    .fetch_optional(executor)
    .await?;
    Ok(user.unwrap_or_else(|| session.to_owned()))
}

/// The user who has verified their identity in this session, while that counts.
pub(crate) async fn verified(
    executor: impl PgExecutor<'_>,
    session: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select user_id from rejoinder.conversations where session = $1 and verified_until > $2",
        session,
        now
    )
    .fetch_optional(executor)
    .await
}

/// The session's user follows this entity from now on.
pub(crate) async fn follow(
    executor: impl PgExecutor<'_>,
    session: &str,
    entity_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.follows (entity_id, user_id, followed_at)
         values ($2, rejoinder.know_conversation($1, $3), $3)
         on conflict (entity_id, user_id) do nothing",
        session,
        entity_id,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// From now on the session is a conversation of this user, who counts as verified until then. What was kept for the
/// session while it had nobody is the user's from now on; what another user of the session had stays that user's.
pub(crate) async fn identify(
    connection: &mut PgConnection,
    session: &str,
    user_id: &str,
    verified_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.conversations (session, user_id, seen_at, verified_until) values ($1, $2, $3, $4)
         on conflict (session) do update
         set user_id = excluded.user_id, seen_at = excluded.seen_at, verified_until = excluded.verified_until",
        session,
        user_id,
        now,
        verified_until
    )
    .execute(&mut *connection)
    .await?;
    if user_id == session {
        return Ok(());
    }
    sqlx::query!(
        "with moved as (delete from rejoinder.follows where user_id = $1 returning entity_id, followed_at)
         insert into rejoinder.follows (entity_id, user_id, followed_at) select entity_id, $2, followed_at from moved
         on conflict (entity_id, user_id) do nothing",
        session,
        user_id
    )
    .execute(&mut *connection)
    .await?;
    subscription::hand_over(&mut *connection, session, user_id).await?;
    preferences::hand_over(&mut *connection, session, user_id).await?;
    fact::hand_over(connection, session, user_id).await
}

/// Erases whom the user follows; returns how many.
pub(crate) async fn forget_follows(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.follows where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}

/// Erases which conversations are the user's; returns how many.
pub(crate) async fn forget_conversations(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.conversations where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}

/// The user's conversations.
pub(crate) async fn sessions(executor: impl PgExecutor<'_>, user_id: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select session from rejoinder.conversations where user_id = $1",
        user_id
    )
    .fetch_all(executor)
    .await
}
