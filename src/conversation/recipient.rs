//! Recipients: whom an effect is about, and the users and conversations that are meant.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use crate::session::SessionName;

/// Whom an effect is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recipient {
    /// All users who follow this entity.
    Followers(String),
    /// This user, in all conversations of theirs.
    User(String),
    /// The conversation with this full session name.
    Session(String),
    /// The entity itself: for facts only.
    Entity(String),
}

/// How far it is to be looked up whom an effect reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaches<'a> {
    /// To the users.
    Users(&'a Recipient),
    /// To their conversations.
    Conversations(&'a Recipient),
}

/// A user is reached in so many conversations, the latest.
const MAX_SESSIONS: i64 = 20;

/// Users and conversations that recipients name.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    followers: HashMap<String, Vec<String>>,
    sessions: HashMap<String, Vec<String>>,
    owners: HashMap<String, String>,
}

impl Recipients {
    /// Looks up whom effects reach, in at most three statements; in none when no effect is about somebody.
    pub(crate) async fn find<'a>(
        connection: &mut PgConnection,
        reached: impl Iterator<Item = Reaches<'a>>,
    ) -> sqlx::Result<Self> {
        let (mut entities, mut users, mut sessions) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut in_conversations = false;
        for reaches in reached {
            let to = match reaches {
                Reaches::Users(to) => to,
                Reaches::Conversations(to) => {
                    in_conversations = true;
                    match to {
                        Recipient::User(user) => drop(users.insert(user.clone())),
                        Recipient::Session(session) => drop(sessions.insert(session.clone())),
                        Recipient::Followers(_) | Recipient::Entity(_) => {}
                    }
                    to
                }
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
        if in_conversations {
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
    pub(crate) fn users<'a>(&'a self, to: &'a Recipient) -> Vec<&'a str> {
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
    pub(crate) fn sessions<'a>(&'a self, to: &'a Recipient, user: &'a str) -> Vec<&'a str> {
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
