//! Forgetting a user: what is kept of them is erased, wherever it is.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::apply::{join, outcome};
use crate::conversation::{chat, fact, goto, outbox, preferences, subscription, user};
use crate::event::partition::Partition;
use crate::event::position::Position;
use crate::fulfillment::late;
use crate::idempotency::record;
use crate::intake::quarantine;
use crate::log::audit::{self, Entry};
use crate::log::{self, cursor, dead, parked};
use crate::postgres::Database;
use crate::progress::Progress;

/// How many rows of each kind were erased; all 0 for a user of whom nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Forgotten {
    pub(crate) facts: u64,
    pub(crate) follows: u64,
    pub(crate) subscriptions: u64,
    pub(crate) preferences: u64,
    pub(crate) conversations: u64,
    pub(crate) gotos: u64,
    pub(crate) messages: u64,
    pub(crate) chat_messages: u64,
    pub(crate) replies: u64,
    pub(crate) events: u64,
    pub(crate) outcomes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) quarantined: u64,
    pub(crate) joins: u64,
}

/// What is erased, and what was.
struct Erasure<'a> {
    user_id: &'a str,
    now: DateTime<Utc>,
    /// The user's conversations.
    sessions: Vec<String>,
    /// The events that concern the user.
    positions: Vec<Position>,
    /// Those of them whose payload is gone, or whose user.
    erased: HashSet<Position>,
    forgotten: Forgotten,
}

/// In how many steps a user is forgotten.
pub(crate) const STEPS: usize = 8;

/// Erases what is kept of `user_id`, and says after each of [`STEPS`] how far it is; `actor` is who wants it. A session that
/// has nobody is forgotten by its full name.
/// What stays is that events came and messages went out, without what was in them, and an entry in the audit trail with
/// the counts.
///
/// First what there may be much of, and which nobody writes anew, while events go on being applied. Then, when nobody
/// applies any and no turn of the user's conversations has a transaction open, what they have written meanwhile, and all
/// the rest. Where that fails it may be done again.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn forget(
    database: &Database,
    user_id: &str,
    actor: &str,
    now: DateTime<Utc>,
    progress: &mut Progress,
) -> sqlx::Result<Forgotten> {
    let mut erasure = Erasure {
        user_id,
        now,
        sessions: vec![user_id.to_owned()],
        positions: Vec::new(),
        erased: HashSet::new(),
        forgotten: Forgotten::default(),
    };
    let mut transaction = database.primary().begin().await?;
    erasure.find(&mut transaction).await?;
    erasure.erase_messages(&mut transaction).await?;
    progress.add(1);
    erasure.erase_events(&mut transaction).await?;
    progress.add(1);
    // From its commit on none is kept.
    erasure.forgotten.replies += late::forget(&mut transaction, &erasure.sessions, erasure.user_id).await?;
    transaction.commit().await?;
    progress.add(1);

    let mut transaction = database.primary().begin().await?;
    // As long as what is waited for may take: a turn, or an action of a rule.
    sqlx::query!("set local statement_timeout = '60s'")
        .execute(&mut *transaction)
        .await?;
    // Before anything is locked that others could wait for.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext('rejoinder forgotten session'), hashtext(s.session))
         from (select session from unnest($1::text[]) as s (session) order by hashtext(session)) s",
        &erasure.sessions
    )
    .execute(&mut *transaction)
    .await?;
    cursor::fence_all(&mut transaction).await?;
    erasure.find(&mut transaction).await?;
    erasure.erase_messages(&mut transaction).await?;
    progress.add(1);
    erasure.erase_events(&mut transaction).await?;
    progress.add(1);
    erasure.erase_failures(&mut transaction).await?;
    progress.add(1);
    erasure.erase_memory(&mut transaction).await?;
    progress.add(1);
    erasure.erase_names(&mut transaction).await?;
    progress.add(1);
    let forgotten = Forgotten {
        events: erasure.erased.len() as u64,
        ..erasure.forgotten
    };
    // The trail tells whom, to those who know whom to look for.
    let subject = hex::encode(&Sha256::digest(user_id)[..8]);
    let counts = serde_json::to_string(&forgotten).unwrap_or_default();
    let entry = Entry {
        actor,
        action: "forget",
        position: None,
        detail: &format!("user sha256:{subject}: {counts}"),
    };
    audit::write(&mut transaction, &entry, now).await?;
    transaction.commit().await?;
    Ok(forgotten)
}

impl Erasure<'_> {
    /// Finds the user's conversations, and the events that concern the user: by their own word, or because they led to
    /// something that is kept of the user. What was found before still counts, though what led there is gone.
    async fn find(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let sessions = user::sessions(&mut *connection, self.user_id).await?;
        self.sessions.extend(sessions);
        self.sessions.sort();
        self.sessions.dedup();
        let positions = sqlx::query_scalar!(
            r#"select position as "position!" from rejoinder.event_log where user_id = $1
               union
               select position from rejoinder.event_log where partition = $3 and entity_id = $1
               union
               select position from rejoinder.facts
               where position is not null
                   and ((scope = 'user' and subject = $1) or (scope = 'session' and subject = any($2)))
               union
               select position from rejoinder.outbox where user_id = $1
               union
               select position from rejoinder.gotos where session = any($2)"#,
            self.user_id,
            &self.sessions,
            Partition::of(self.user_id).number()
        )
        .fetch_all(connection)
        .await?;
        let positions = Position::all(positions);
        self.positions.extend(positions);
        self.positions.sort_unstable();
        self.positions.dedup();
        Ok(())
    }

    async fn erase_memory(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (user_id, sessions, forgotten) = (self.user_id, &self.sessions, &mut self.forgotten);
        forgotten.follows += user::forget_follows(connection, user_id).await?;
        forgotten.subscriptions += subscription::forget(connection, user_id).await?;
        forgotten.preferences += preferences::forget(connection, user_id).await?;
        forgotten.facts += fact::forget(connection, user_id, sessions, &self.positions).await?;
        forgotten.gotos += goto::forget(connection, sessions).await?;
        forgotten.replies += late::forget(connection, sessions, user_id).await?;
        forgotten.replies += record::forget(connection, sessions).await?;
        Ok(())
    }

    async fn erase_messages(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (sessions, forgotten) = (&self.sessions, &mut self.forgotten);
        forgotten.messages += outbox::forget(connection, self.user_id, sessions, &self.positions, self.now).await?;
        // After the outbox: a sender that was saying something is done then.
        forgotten.chat_messages += chat::forget(connection, sessions).await?;
        Ok(())
    }

    async fn erase_events(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        self.erased
            .extend(log::erase_payloads(connection, &self.positions).await?);
        self.forgotten.outcomes += outcome::forget(connection, &self.positions).await?;
        Ok(())
    }

    /// What is kept of events that could not be applied, or wait for others.
    async fn erase_failures(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (positions, forgotten) = (&self.positions, &mut self.forgotten);
        forgotten.dead_letters += dead::erase(connection, positions).await?;
        parked::erase(connection, positions).await?;
        audit::erase(connection, positions).await?;
        forgotten.quarantined += quarantine::forget(connection, self.user_id).await?;
        forgotten.joins += join::erase(connection, positions).await?;
        Ok(())
    }

    /// Erases what says whose the conversations are, and whom the events concern.
    async fn erase_names(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        self.erased.extend(log::erase_user(connection, self.user_id).await?);
        self.forgotten.conversations += user::forget_conversations(connection, self.user_id).await?;
        Ok(())
    }
}
