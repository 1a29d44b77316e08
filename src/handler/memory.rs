//! The conversation's memory, for handlers.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{FromTurn, Identity, Pool, Read, Scope};
use crate::clock::Clock;
use crate::conversation::fact::FactScope;
pub use crate::conversation::fact::{Fact, Facts};
pub use crate::conversation::preferences::Preferences;
use crate::conversation::{Conversation, fact, preferences, subscription, user};
use crate::fail::Fail;
use crate::postgres::Database;
use crate::session::SessionName;

/// For how long an identity counts once it is verified, unless the bot says otherwise.
const VERIFIED_FOR: TimeDelta = TimeDelta::minutes(30);

/// What is remembered of the conversation, of its user, and of what events tell about.
///
/// A session in which nobody is identified is its own user, under its full name. All writes may run twice: the second
/// time they change nothing. They are written at once, not with a handler's [`Tx`](super::Tx), but for
/// [`identify`](Self::identify).
///
/// ```
/// use rejoinder::{Fail, Memory, Reply};
///
/// async fn greet(memory: Memory) -> Result<Reply, Fail> {
///     let name: Option<String> = memory.user().await?.get("name");
///     memory.opt_in("orders").await?;
///     Ok(Reply::text(format!("Hello {}!", name.unwrap_or_default())))
/// }
/// # rejoinder::Bot::new().intent("Greet", greet).check().unwrap();
/// ```
#[derive(Clone)]
pub struct Memory {
    conversation: Arc<Conversation>,
    database: Database,
    pool: Pool,
    clock: Clock,
    session: SessionName,
    identity: Identity,
}

impl Memory {
    /// What events have told about an entity, such as an order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn about(&self, entity_id: &str) -> Result<Facts, Fail> {
        self.facts(FactScope::Entity, entity_id).await
    }

    /// What is known about the user.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn user(&self) -> Result<Facts, Fail> {
        self.facts(FactScope::User, &self.user_id().await?).await
    }

    /// What is known about this conversation.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(&self) -> Result<Facts, Fail> {
        self.facts(FactScope::Session, self.session.as_str()).await
    }

    /// Who the user is; the session's full name while nobody is identified.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn user_id(&self) -> Result<String, Fail> {
        self.database.expect_up()?;
        Ok(user::of_session(&self.pool, self.session.as_str()).await?)
    }

    /// Remembers a fact about this conversation; null forgets it.
    ///
    /// # Errors
    /// When the value is no JSON, or the database does not answer.
    pub async fn remember(&self, name: &str, value: impl Serialize) -> Result<(), Fail> {
        self.set(FactScope::Session, self.session.as_str(), name, value).await
    }

    /// Remembers a fact about the user, for all conversations of theirs; null forgets it.
    ///
    /// # Errors
    /// When the value is no JSON, or the database does not answer.
    pub async fn remember_of_user(&self, name: &str, value: impl Serialize) -> Result<(), Fail> {
        self.set(FactScope::User, &self.user_id().await?, name, value).await
    }

    /// The user has shown that they are `user_id`: from now on this conversation is theirs, in the transaction of
    /// `connection`, so that it is so only if the handler's reply is. What the session followed and opted in to while
    /// nobody was identified is the user's then. They count as [verified](Self::verified) for 30 minutes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn identify(&self, connection: &mut PgConnection, user_id: &str) -> Result<(), Fail> {
        self.identify_for(VERIFIED_FOR, connection, user_id).await
    }

    /// As [`identify`](Self::identify), and they count as [verified](Self::verified) for `lasting`; not at all where that
    /// is zero.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn identify_for(
        &self,
        lasting: TimeDelta,
        connection: &mut PgConnection,
        user_id: &str,
    ) -> Result<(), Fail> {
        let now = self.clock.now();
        let verified_until = now.checked_add_signed(lasting).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(user::identify(connection, self.session.as_str(), user_id, verified_until, now).await?)
    }

    /// The user who has shown who they are in this conversation, and not too long ago. To others the conversation may
    /// still be known as theirs ([`user_id`](Self::user_id)), but nothing is to be told that only they may hear. Within
    /// one turn the answer is always the same, and a late reply to the turn is given only while it still is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verified(&self) -> Result<Option<String>, Fail> {
        let read = async || {
            self.database.expect_up()?;
            let verified = user::verified(&self.pool, self.session.as_str(), self.clock.now());
            Ok::<_, Fail>(verified.await?)
        };
        Ok(self.identity.get_or_try_init(read).await?.clone())
    }

    /// The user is told of this entity's events from now on. It is written behind the turn: the answer does not wait
    /// for it, and does not fail with it.
    pub fn follow(&self, entity_id: &str) {
        self.conversation.follow(self.session.clone(), entity_id.to_owned());
    }

    /// The user wants to be notified of this topic.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn opt_in(&self, topic: &str) -> Result<(), Fail> {
        self.subscribe(topic, true).await
    }

    /// The user no longer wants to be notified of this topic; what is held for them is not sent.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn opt_out(&self, topic: &str) -> Result<(), Fail> {
        self.subscribe(topic, false).await
    }

    /// The topics that the user wants to be notified of, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn subscriptions(&self) -> Result<Vec<String>, Fail> {
        self.database.expect_up()?;
        Ok(subscription::of_session(&self.pool, self.session.as_str()).await?)
    }

    /// When and how often the user wants to be notified; the default where they have not said so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn preferences(&self) -> Result<Preferences, Fail> {
        self.database.expect_up()?;
        Ok(preferences::of_session(&self.pool, self.session.as_str()).await?)
    }

    /// The user wants to be notified so from now on, instead of as they said before. What is held for quiet hours that
    /// are over then is sent at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prefer(&self, preferences: Preferences) -> Result<(), Fail> {
        self.database.expect_up()?;
        let mut transaction = self.pool.begin().await?;
        preferences::set(&mut transaction, self.session.as_str(), &preferences, self.clock.now()).await?;
        Ok(transaction.commit().await?)
    }

    async fn facts(&self, scope: FactScope, subject: &str) -> Result<Facts, Fail> {
        self.database.expect_up()?;
        // Not from the replica: what an event has just told would not be there yet.
        Ok(fact::about(&self.pool, scope, subject).await?)
    }

    async fn set(&self, scope: FactScope, subject: &str, name: &str, value: impl Serialize) -> Result<(), Fail> {
        self.database.expect_up()?;
        let value = serde_json::to_value(value).map_err(|error| Fail::bug(format_args!("fact {name}: {error}")))?;
        let now = self.clock.now();
        Ok(fact::set(&self.pool, scope, subject, name, &value, now).await?)
    }

    async fn subscribe(&self, topic: &str, opted_in: bool) -> Result<(), Fail> {
        self.database.expect_up()?;
        let mut transaction = self.pool.begin().await?;
        let session = self.session.as_str();
        subscription::set(&mut transaction, session, topic, opted_in, self.clock.now()).await?;
        Ok(transaction.commit().await?)
    }
}

impl FromTurn for Memory {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(Self {
            conversation: Arc::clone(&scope.services.conversation),
            database: scope.services.database.clone(),
            pool: scope.pools().0,
            clock: scope.services.clock.clone(),
            session: scope.turn.session.clone(),
            identity: Identity::clone(&scope.identity),
        })
    }
}
