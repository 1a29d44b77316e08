//! Replies that come after the user has heard the slow text: kept in the database, given when the session asks again.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use sqlx::{PgConnection, PgExecutor};
use tracing::{info, warn};
use uuid::Uuid;

use super::flights::Running;
use crate::clock::Clock;
use crate::idempotency::key::{Hash, TurnKey};
use crate::idempotency::record;
use crate::postgres::Database;
use crate::session::SessionName;

/// Tells the other replicas that a late reply was kept; the payload is its key in hex.
const CHANNEL: &str = "rejoinder_late";

/// How often expired rows are deleted, and how long to wait before listening anew.
const SWEEP: Duration = Duration::from_secs(60);
const RELISTEN: Duration = Duration::from_secs(1);

/// Which questions have a late reply, or a handler that is late; the database is only asked for those.
pub(super) struct Late {
    questions: moka::future::Cache<Hash, State>,
    database: Database,
    clock: Clock,
    ttl: Duration,
}

#[derive(Clone)]
enum State {
    Running(Running),
    Kept,
}

/// What there is for a question.
pub(super) enum Found {
    Running(Running),
    Kept(Bytes),
}

impl Late {
    pub(super) fn new(database: Database, clock: Clock, ttl: Duration) -> Self {
        let questions = moka::future::Cache::builder()
            .max_capacity(100_000)
            .time_to_live(ttl)
            .build();
        Self {
            questions,
            database,
            clock,
            ttl,
        }
    }

    /// Takes what there is; a kept reply is given to one turn, and to that turn again.
    pub(super) async fn find(&self, key: &TurnKey) -> Option<Found> {
        match self.questions.get(&key.question).await? {
            State::Running(running) if running.answer.clone().now_or_never().is_none() => Some(Found::Running(running)),
            // What has ended since is kept, or failed.
            State::Running(_) | State::Kept => self.take(key).await,
        }
    }

    async fn take(&self, key: &TurnKey) -> Option<Found> {
        match take(self.database.primary(), key, self.clock.now()).await {
            Ok(Some(body)) => Some(Found::Kept(body.into())),
            Ok(None) => {
                self.questions.invalidate(&key.question).await;
                None
            }
            Err(error) => {
                warn!(error = %error, "late reply cannot be read; the handler runs again");
                None
            }
        }
    }

    /// Whether there is anything for this question.
    pub(super) async fn is_known(&self, key: &TurnKey) -> bool {
        self.questions.get(&key.question).await.is_some()
    }

    /// The user has heard the slow text: the next who asks waits for this handler.
    pub(super) async fn expect(&self, key: &TurnKey, running: Running) {
        self.questions.insert(key.question, State::Running(running)).await;
    }

    /// The handler has ended: keeps its reply, if it has one, before anyone who still waits for it gets it. Where it has
    /// read the user's `identity`, the reply is for whom that still is so.
    pub(super) async fn keep(
        &self,
        key: &TurnKey,
        session: &SessionName,
        identity: Option<&Option<String>>,
        body: Option<&Bytes>,
    ) {
        let Some(body) = body else {
            self.questions.invalidate(&key.question).await;
            return;
        };
        let expires_at = self.clock.now() + TimeDelta::from_std(self.ttl).unwrap_or(TimeDelta::MAX);
        let identity = identity.map(|user| user.as_deref().unwrap_or(session.as_str()));
        let kept = keep(
            self.database.primary(),
            &key.question,
            session,
            identity,
            body,
            expires_at,
        );
        match self.database.within(kept).await {
            Ok(true) => self.questions.insert(key.question, State::Kept).await,
            // Its user was forgotten meanwhile.
            Ok(false) => self.questions.invalidate(&key.question).await,
            Err(error) => {
                warn!(error = %error, "late reply cannot be kept");
                self.questions.invalidate(&key.question).await;
            }
        }
    }

    /// The reply has been given to this turn, which waited for it: if it is kept, it is for no other.
    pub(super) async fn delivered(&self, key: &TurnKey) {
        let taken = take(self.database.primary(), key, self.clock.now());
        if let Err(error) = self.database.within(taken).await {
            warn!(error = %error, "late reply cannot be marked as given; it may be given once more");
        }
    }

    pub(super) async fn count(&self) -> u64 {
        self.questions.run_pending_tasks().await;
        self.questions.entry_count()
    }

    /// Follows what all replicas keep; never ends.
    pub(super) async fn follow(&self) {
        loop {
            if let Err(error) = self.listen().await {
                info!(error = %error, "not listening for late replies of other replicas; trying again");
            }
            tokio::time::sleep(RELISTEN).await;
        }
    }

    async fn listen(&self) -> sqlx::Result<()> {
        let database = &self.database;
        let mut listener = database.listen(&[CHANNEL]).await?;
        loop {
            // Listening first, so that none is missed between the two.
            for key in database.within(kept(database.primary(), self.clock.now())).await? {
                self.learn(&key).await;
            }
            while let Some(notification) = listener.next().await? {
                if let Ok(key) = hex::decode(notification.payload()) {
                    self.learn(&key).await;
                }
            }
        }
    }

    async fn learn(&self, key: &[u8]) {
        if let Ok(question) = Hash::try_from(key) {
            self.questions.entry(question).or_insert(State::Kept).await;
        }
    }

    /// Deletes what has expired; never ends.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = self.clock.now();
            let swept = async {
                record::delete_expired(self.database.primary(), now).await?;
                delete_expired(self.database.primary(), now).await
            };
            if let Err(error) = self.database.within(swept).await {
                info!(error = %error, "expired replies not deleted; trying again in a minute");
            }
        }
    }
}

/// Returns whether it is kept: not for a conversation that was forgotten of late (see [`forget`]), which the handler may not
/// know of.
async fn keep(
    executor: impl PgExecutor<'_>,
    key: &Hash,
    session: &SessionName,
    identity: Option<&str>,
    body: &[u8],
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let kept = sqlx::query!(
        "with kept as (
             insert into rejoinder.late_replies (key, body, expires_at, session, identity)
             select $1, $2, $3, $5, $6
             where not exists (
                 select from rejoinder.late_replies where key = sha256(convert_to('forgotten ' || $5, 'utf8')) and expires_at > now()
             )
             on conflict (key) do update
             set body = excluded.body, expires_at = excluded.expires_at, session = excluded.session, taken_by = null,
                 -- a turn that has run before is answered with what was committed then, and reads no identity
                 identity = coalesce(excluded.identity, late_replies.identity)
             returning key
         )
         select pg_notify($4, encode(key, 'hex')) from kept",
        key.as_slice(),
        body,
        expires_at,
        CHANNEL,
        session.as_str(),
        identity
    )
    .fetch_optional(executor)
    .await?;
    Ok(kept.is_some())
}

/// Erases the late replies of these conversations, and what was made for this user, and sees to it that none is kept for a while: a handler that is running
/// has read what is erased. Returns how many there were.
pub(crate) async fn forget(transaction: &mut PgConnection, sessions: &[String], user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!(
        "delete from rejoinder.late_replies where session = any($1) or identity = $2",
        sessions,
        user_id
    )
    .execute(&mut *transaction)
    .await?;
    // A row that names nobody, and is swept as the others.
    sqlx::query!(
        "insert into rejoinder.late_replies (key, body, expires_at)
         select sha256(convert_to('forgotten ' || s.session, 'utf8')), '', now() + interval '5 minutes'
         from unnest($1::text[]) s (session)
         on conflict (key) do update set expires_at = excluded.expires_at",
        sessions
    )
    .execute(transaction)
    .await?;
    Ok(erased.rows_affected())
}

/// Of two turns that ask at once, one gets it; that one gets it again when it is retried, here or at another replica.
async fn take(executor: impl PgExecutor<'_>, key: &TurnKey, now: DateTime<Utc>) -> sqlx::Result<Option<Vec<u8>>> {
    // A turn with no response id cannot be told when it comes again.
    let taker = key
        .record
        .map_or_else(|| Uuid::new_v4().as_bytes().to_vec(), |record| record.to_vec());
    sqlx::query_scalar!(
        "update rejoinder.late_replies l set taken_by = $2
         where l.key = $1 and l.expires_at > $3 and coalesce(l.taken_by, $2) = $2
             -- what was told to one user is told to no other, nor to one who is no longer verified
             and (l.identity is null or l.identity = coalesce(
                 (select c.user_id from rejoinder.conversations c where c.session = l.session and c.verified_until > $3),
                 l.session
             ))
         returning body",
        key.question.as_slice(),
        taker,
        now
    )
    .fetch_optional(executor)
    .await
}

async fn kept(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!(
        "select key from rejoinder.late_replies where expires_at > $1 and body <> '' limit 100000",
        now
    )
    .fetch_all(executor)
    .await
}

async fn delete_expired(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!("delete from rejoinder.late_replies where expires_at <= $1", now)
        .execute(executor)
        .await?;
    Ok(deleted.rows_affected())
}
