//! Forgetting a user: what is kept of them is erased, wherever it is.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::event::envelope::{PARTITIONS, partition_of};
use crate::fulfillment::late;
use crate::log::cursor;
use crate::postgres::Database;

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
    positions: Vec<i64>,
    /// Those of them whose payload is gone, or whose user.
    erased: HashSet<i64>,
    forgotten: Forgotten,
}

/// Erases what is kept of `user_id`; `actor` is who wants it. A session that has nobody is forgotten by its full name.
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
    erasure.erase_events(&mut transaction).await?;
    // From its commit on none is kept.
    erasure.forgotten.replies += late::forget(&mut transaction, &erasure.sessions, erasure.user_id).await?;
    transaction.commit().await?;

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
    erasure.erase_events(&mut transaction).await?;
    erasure.erase_failures(&mut transaction).await?;
    erasure.erase_memory(&mut transaction).await?;
    erasure.erase_names(&mut transaction).await?;
    let forgotten = Forgotten {
        events: erasure.erased.len() as u64,
        ..erasure.forgotten
    };
    // The trail tells whom, to those who know whom to look for.
    let subject = hex::encode(&Sha256::digest(user_id)[..8]);
    let counts = serde_json::to_string(&forgotten).unwrap_or_default();
    sqlx::query!(
        "insert into rejoinder.event_audit (at, actor, action, detail) values ($1, $2, 'forget', $3)",
        now,
        actor,
        format!("user sha256:{subject}: {counts}")
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(forgotten)
}

impl Erasure<'_> {
    /// Finds the user's conversations, and the events that concern the user: by their own word, or because they led to
    /// something that is kept of the user. What was found before still counts, though what led there is gone.
    async fn find(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let sessions = sqlx::query_scalar!(
            "select session from rejoinder.conversations where user_id = $1",
            self.user_id
        )
        .fetch_all(&mut *connection)
        .await?;
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
            i16::from(partition_of(self.user_id))
        )
        .fetch_all(connection)
        .await?;
        self.positions.extend(positions);
        self.positions.sort_unstable();
        self.positions.dedup();
        Ok(())
    }

    async fn erase_memory(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (user_id, sessions, forgotten) = (self.user_id, &self.sessions, &mut self.forgotten);
        let follows = sqlx::query!("delete from rejoinder.follows where user_id = $1", user_id);
        forgotten.follows += follows.execute(&mut *connection).await?.rows_affected();
        let subscriptions = sqlx::query!("delete from rejoinder.subscriptions where user_id = $1", user_id);
        forgotten.subscriptions += subscriptions.execute(&mut *connection).await?.rows_affected();
        let preferences = sqlx::query!("delete from rejoinder.preferences where user_id = $1", user_id);
        forgotten.preferences += preferences.execute(&mut *connection).await?.rows_affected();
        let facts = sqlx::query!(
            "delete from rejoinder.facts
             where (scope in ('user', 'entity') and subject = $1) or (scope = 'session' and subject = any($2))
                 or (scope = 'entity' and position = any($3))",
            user_id,
            sessions,
            &self.positions
        );
        forgotten.facts += facts.execute(&mut *connection).await?.rows_affected();
        let gotos = sqlx::query!("delete from rejoinder.gotos where session = any($1)", sessions);
        forgotten.gotos += gotos.execute(&mut *connection).await?.rows_affected();
        forgotten.replies += late::forget(&mut *connection, sessions, user_id).await?;
        let answers = sqlx::query!("delete from rejoinder.turn_answers where session = any($1)", sessions);
        forgotten.replies += answers.execute(&mut *connection).await?.rows_affected();
        Ok(())
    }

    async fn erase_messages(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        // The calls that events of the user led to are nobody's; they are erased with their events. Locked in the order of
        // their ids, as senders do, who write of several at once.
        let messages = sqlx::query!(
            "with erased as (
                 select id from rejoinder.outbox
                 where user_id = $1 or session = any($2)
                     or (position = any($3) and channel = 'call' and body::text <> '{}')
                 order by id for update
             )
             update rejoinder.outbox set body = '{}', user_id = null, session = null,
                 state = case when state in ('pending', 'held') then 'suppressed' else state end,
                 reason = case when state in ('pending', 'held') then 'forgotten' else reason end,
                 done_at = coalesce(done_at, $4)
             where id in (select id from erased)",
            self.user_id,
            &self.sessions,
            &self.positions,
            self.now
        );
        self.forgotten.messages += messages.execute(&mut *connection).await?.rows_affected();
        // After the outbox: a sender that was saying something is done then.
        let chat = sqlx::query!(
            "delete from rejoinder.chat_messages where session = any($1)",
            &self.sessions
        );
        self.forgotten.chat_messages += chat.execute(&mut *connection).await?.rows_affected();
        Ok(())
    }

    async fn erase_events(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (positions, forgotten) = (&self.positions, &mut self.forgotten);
        let partitions: Vec<i16> = (0..i16::from(PARTITIONS)).collect();
        let events = sqlx::query_scalar!(
            "update rejoinder.event_log set payload = null
             -- by the partition, too: that is what the index is on
             where partition = any($1) and position = any($2) and payload is not null
             returning position",
            &partitions,
            positions
        );
        self.erased.extend(events.fetch_all(&mut *connection).await?);
        let outcomes = sqlx::query!(
            "delete from rejoinder.event_outcomes where position = any($1)",
            positions
        );
        forgotten.outcomes += outcomes.execute(&mut *connection).await?.rows_affected();
        Ok(())
    }

    /// What is kept of events that could not be applied, or wait for others.
    async fn erase_failures(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let (positions, forgotten) = (&self.positions, &mut self.forgotten);
        let dead = sqlx::query!(
            "update rejoinder.dead_letters set payload = null, error = 'erased'
             where position = any($1) and (payload is not null or error <> 'erased')",
            positions
        );
        forgotten.dead_letters += dead.execute(&mut *connection).await?.rows_affected();
        sqlx::query!(
            "update rejoinder.parked_events set error = 'erased' where position = any($1) and error is not null",
            positions
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!(
            "update rejoinder.event_audit set detail = 'erased' where action = 'dead' and position = any($1)",
            positions
        )
        .execute(&mut *connection)
        .await?;
        let quarantined = sqlx::query!(
            "delete from rejoinder.quarantined_events where envelope->>'user_id' = $1 or envelope->>'entity_id' = $1",
            self.user_id
        );
        forgotten.quarantined += quarantined.execute(&mut *connection).await?.rows_affected();
        // Whose the events of a request are that could not be read is not known: what names the user is not kept.
        let requests = sqlx::query!(
            "delete from rejoinder.quarantined_requests where position(convert_to($1, 'UTF8') in body) > 0",
            self.user_id
        );
        forgotten.quarantined += requests.execute(&mut *connection).await?.rows_affected();
        let joins = sqlx::query!(
            "update rejoinder.event_joins j set seen = (
                 select coalesce(json_object_agg(s.key, case
                     when (s.value->>'position')::bigint = any($1)
                     then (s.value::jsonb - 'user_id' || '{\"payload\": null}')::json else s.value end), '{}')
                 from json_each(j.seen) s
             )
             where exists (
                 select from json_each(j.seen) s
                 where (s.value->>'position')::bigint = any($1)
                     and (s.value->>'payload' is not null or s.value->>'user_id' is not null)
             )",
            positions
        );
        forgotten.joins += joins.execute(connection).await?.rows_affected();
        Ok(())
    }

    /// Erases what says whose the conversations are, and whom the events concern.
    async fn erase_names(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let events = sqlx::query_scalar!(
            "update rejoinder.event_log set user_id = null where user_id = $1 returning position",
            self.user_id
        );
        self.erased.extend(events.fetch_all(&mut *connection).await?);
        let conversations = sqlx::query!("delete from rejoinder.conversations where user_id = $1", self.user_id);
        self.forgotten.conversations += conversations.execute(connection).await?.rows_affected();
        Ok(())
    }
}
