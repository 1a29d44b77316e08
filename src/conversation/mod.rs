//! The conversation: whose it is, what is remembered, where it goes next, and what is said in it unasked.

mod channel;
pub(crate) mod chat;
mod cors;
pub(crate) mod decision;
pub(crate) mod door;
pub(crate) mod fact;
pub(crate) mod goto;
pub(crate) mod governance;
pub(crate) mod outbox;
mod places;
pub(crate) mod preferences;
pub(crate) mod recipient;
mod sender;
mod stream;
pub(crate) mod stream_token;
pub(crate) mod subscription;
#[cfg(test)]
mod tests;
pub(crate) mod user;
mod webhook;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;
use sqlx::PgExecutor;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

pub(crate) use self::channel::{Channels, ChannelsInForce, secrets as channel_secrets};
use self::decision::State;
pub(crate) use self::goto::Taken;
pub(crate) use self::outbox::delete_done;
pub(crate) use self::sender::Sender;
use self::stream::{NoStream, Said, Streams};
use crate::clock::{Clock, before};
use crate::idempotency::key::TurnKey;
use crate::postgres::Database;
use crate::session::SessionName;
use crate::telemetry::Metrics;

/// Tells the replicas which conversation has a goto; the payload is the session, or empty where it is too long or there
/// are many.
const GOTO_CHANNEL: &str = "rejoinder_goto";

/// The longest payload that PostgreSQL takes, in bytes, less one.
const MAX_PAYLOAD: usize = 7_999;

/// More sessions than that are told as one.
const MAX_TOLD: usize = 1_000;

/// How often what was said and what is pending is looked for, when nobody tells.
const POLL: Duration = Duration::from_secs(15);

/// How long to wait before listening anew, and how often old rows are deleted.
const RELISTEN: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(600);

/// At most so many messages are looked through at once for the conversations they are in.
const MAX_SAID: i64 = 10_000;

/// So many follows are written at once behind turns that have been answered; more are left out.
const MAX_FOLLOWS: usize = 64;

/// What this replica knows of conversations, and whom it tells.
pub(crate) struct Conversation {
    database: Database,
    clock: Clock,
    metrics: Metrics,
    pending: goto::Pending,
    streams: Streams,
    outbox_filled: Notify,
    follows: Arc<Semaphore>,
}

/// What is to be told of a transaction once it has committed.
#[derive(Debug, Default)]
pub(crate) struct AfterCommit {
    /// Whether there is something to send at once.
    pub(crate) fills_outbox: bool,
    /// The conversations that have a goto.
    pub(crate) moved: HashSet<String>,
    /// The channels and states of messages that are not sent at once.
    pub(crate) decided: Vec<(String, State)>,
}

impl Conversation {
    pub(crate) fn new(database: Database, clock: Clock, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            database,
            clock,
            metrics,
            pending: goto::Pending::new(),
            streams: Streams::new(),
            outbox_filled: Notify::new(),
            follows: Arc::new(Semaphore::new(MAX_FOLLOWS)),
        })
    }

    /// Counts what was decided, wakes the sender, and tells all replicas which conversations have a goto.
    pub(crate) async fn committed(&self, after: &AfterCommit) {
        for (channel, state) in &after.decided {
            self.metrics.notified(channel, state.as_str(), 1);
        }
        if after.fills_outbox {
            self.wake();
        }
        let moved = &after.moved;
        if moved.is_empty() {
            return;
        }
        let told: Vec<&str> = match moved.len() <= MAX_TOLD && moved.iter().all(|session| session.len() <= MAX_PAYLOAD)
        {
            true => moved.iter().map(String::as_str).collect(),
            false => vec![""],
        };
        if let Err(error) = tell(self.database.conversations(), &told).await {
            info!(error = %error, "gotos not told; they are found within {} s", POLL.as_secs());
        }
    }

    /// Wakes the sender: there is something in the outbox.
    pub(crate) fn wake(&self) {
        self.outbox_filled.notify_one();
    }

    /// What is said in `session` after the message at `after` (where that is `None`: from now on), as server-sent
    /// events, without end.
    ///
    /// # Errors
    /// [`NoStream`] when there can be none now.
    pub(crate) async fn stream(
        &self,
        session: &SessionName,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>, NoStream> {
        let session = session.as_str().to_owned();
        self.streams
            .open(self.database.clone(), self.metrics.clone(), session, after)
            .await
    }

    /// Ends all streams, for the service stops.
    pub(crate) fn end_streams(&self) {
        self.streams.end();
    }

    /// Whether a goto waits for the next turn of `session`. Without a pending one the database is not asked; where it
    /// does not answer, there may be one.
    pub(crate) async fn has_goto(&self, session: &SessionName) -> bool {
        if self.pending.of(session.as_str()).is_none() {
            return false;
        }
        match goto::is_waiting(self.database.primary(), session.as_str(), self.clock.now()).await {
            Ok(waits) => waits,
            Err(error) => {
                warn!(error = %error, "gotos cannot be read; a late reply is not given");
                true
            }
        }
    }

    /// Takes what a turn of `session` goes to, within the time: half of what is left until `answer_by`. Without a
    /// pending goto the database is not asked.
    pub(crate) async fn take_gotos(&self, session: &SessionName, key: &TurnKey, answer_by: Instant) -> Taken {
        let Some(learned) = self.pending.of(session.as_str()) else {
            return Taken::default();
        };
        // A turn with no response id cannot be told when it comes again.
        let taker = key
            .record
            .map_or_else(|| Uuid::new_v4().as_bytes().to_vec(), |record| record.to_vec());
        // In a transaction, so that what is not taken in time stays for the next turn.
        let taking = async {
            let mut transaction = self.database.primary().begin().await?;
            let taken = goto::take(&mut *transaction, session.as_str(), &taker, self.clock.now()).await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(taken)
        };
        let now = Instant::now();
        match before(now + answer_by.saturating_duration_since(now) / 2, taking).await {
            Ok(Ok(taken)) => {
                if taken.is_none() {
                    self.pending.clear(session.as_str(), learned);
                }
                taken
            }
            Ok(Err(error)) => {
                warn!(error = %error, "gotos cannot be read; the turn goes on without");
                Taken::default()
            }
            Err(_) => {
                warn!("gotos not read in time; the turn goes on without");
                Taken::default()
            }
        }
    }

    /// Has the session's user follow an entity, behind the turn: it takes no time of the answer, and where it cannot
    /// be written the log says so.
    pub(crate) fn follow(self: &Arc<Self>, session: SessionName, entity_id: String) {
        let Ok(place) = Arc::clone(&self.follows).try_acquire_owned() else {
            warn!(session.id = session.id(), "not followed: too many are being written");
            return;
        };
        let conversation = Arc::clone(self);
        tokio::spawn(async move {
            let (database, now) = (&conversation.database, conversation.clock.now());
            let followed = user::follow(database.primary(), session.as_str(), &entity_id, now);
            if let Err(error) = database.within(followed).await {
                warn!(error = %error, session.id = session.id(), "not followed");
            }
            drop(place);
        });
    }

    /// Learns what all replicas say and move; runs until dropped.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        let mut position = None;
        loop {
            if let Err(error) = self.listen_once(&mut position).await {
                info!(error = %error, "not listening for what is said and moved; trying again");
            }
            tokio::time::sleep(RELISTEN).await;
        }
    }

    async fn listen_once(&self, position: &mut Option<i64>) -> sqlx::Result<()> {
        let mut listener = self.database.listen(&[chat::CHANNEL, GOTO_CHANNEL]).await?;
        // Listening first, so that none is missed between the two. From here on streams look for themselves.
        let mut said = match *position {
            Some(position) => position,
            None => self.database.within(chat::last(self.database.conversations())).await?,
        };
        *position = Some(said);
        self.streams.tell(Said::Somewhere);
        self.learn_pending().await?;
        loop {
            match listener.next().await? {
                Some(notification) if notification.channel() == GOTO_CHANNEL => {
                    match notification.payload() {
                        "" => self.learn_pending().await?,
                        session => self.pending.learn(session),
                    }
                    continue;
                }
                Some(_) => {}
                // Nothing came for a while, or something may have been missed.
                None => self.learn_pending().await?,
            }
            said = self.database.within(self.hear(said)).await?;
            *position = Some(said);
        }
    }

    async fn learn_pending(&self) -> sqlx::Result<()> {
        let pending = goto::pending(self.database.conversations(), self.clock.now());
        for session in self.database.within(pending).await? {
            self.pending.learn(&session);
        }
        Ok(())
    }

    /// Tells the streams of what was said after `position`; returns the position of the last of it.
    async fn hear(&self, mut position: i64) -> sqlx::Result<i64> {
        loop {
            let said = chat::sessions_after(self.database.conversations(), position, MAX_SAID).await?;
            let Some((last, _)) = said.last() else {
                return Ok(position);
            };
            position = *last;
            let is_all = (said.len() as i64) < MAX_SAID;
            let sessions = said.into_iter().map(|(_, session)| session).collect();
            self.streams.tell(Said::In(Arc::new(sessions)));
            if is_all {
                return Ok(position);
            }
        }
    }

    /// Deletes what is old; runs until dropped.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let (pool, now) = (self.database.conversations(), self.clock.now());
            let swept = async {
                goto::delete_expired(pool, now).await?;
                chat::delete_old(pool, now).await
            };
            if let Err(error) = self.database.within(swept).await {
                info!(error = %error, "old messages and gotos not deleted; trying again in ten minutes");
            }
        }
    }
}

async fn tell(executor: impl PgExecutor<'_>, sessions: &[&str]) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_notify($1, n.session) from unnest($2::text[]) as n (session)",
        GOTO_CHANNEL,
        sessions as &[&str]
    )
    .execute(executor)
    .await?;
    Ok(())
}
