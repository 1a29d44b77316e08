//! The stream of a conversation: what is said in it unasked, as server-sent events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use super::chat::{self, ChatMessage};
use crate::postgres::Database;
use crate::telemetry::Metrics;

/// So many streams a replica has open at most.
const MAX_STREAMS: usize = 10_000;

/// So many of them read at once: turns keep the rest of the database's connections.
const MAX_READS: usize = 2;

/// At most so many messages are read at once.
const MAX_ROWS: i64 = 100;

/// How often a stream that has nothing to tell says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a stream begins with: after how many milliseconds a client that is cut off comes back.
const OPENING: &str = "retry: 2000\n\n";

/// All streams of a replica.
pub(super) struct Streams {
    said: broadcast::Sender<Said>,
    ended: watch::Sender<bool>,
    places: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// In which conversations something was said.
#[derive(Clone, Debug)]
pub(super) enum Said {
    In(Arc<HashSet<String>>),
    /// It is not known in which.
    Somewhere,
}

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoStream {
    /// There are too many.
    #[error("too many streams are open")]
    TooMany,
    /// The service stops.
    #[error("the service stops")]
    Stopping,
    /// The database does not answer.
    #[error("the database does not answer")]
    NoDatabase,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            said: broadcast::Sender::new(1_024),
            ended: watch::Sender::new(false),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        }
    }

    /// Tells the streams that they have something to read.
    pub(super) fn tell(&self, said: Said) {
        // Nobody may be listening.
        self.said.send(said).ok();
    }

    /// Ends all streams, and lets none begin.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// What is said in `session` after the message at `after`; from now on where that is `None`.
    pub(super) async fn open(
        &self,
        database: Database,
        metrics: Metrics,
        session: String,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>, NoStream> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| NoStream::TooMany)?;
        if *self.ended.borrow() {
            return Err(NoStream::Stopping);
        }
        // Before the place from which it reads is known, so that nothing is missed in between.
        let said = self.said.subscribe();
        let position = match after {
            Some(position) => position,
            None => {
                let _turn = self.reads.acquire().await.map_err(|_| NoStream::Stopping)?;
                let last = database.within(chat::last(database.conversations()));
                last.await.map_err(|error| {
                    info!(error = %error, "no stream begun");
                    NoStream::NoDatabase
                })?
            }
        };
        metrics.stream_opened();
        let reader = Reader {
            session,
            position,
            said,
            ended: self.ended.subscribe(),
            reads: Arc::clone(&self.reads),
            database,
            metrics,
            opened: false,
            may_have_more: after.is_some(),
            _place: place,
        };
        Ok(stream::unfold(reader, async |mut reader| {
            let chunk = reader.next().await?;
            Some((Ok(chunk), reader))
        }))
    }
}

/// One open stream.
struct Reader {
    session: String,
    position: i64,
    said: broadcast::Receiver<Said>,
    ended: watch::Receiver<bool>,
    reads: Arc<Semaphore>,
    database: Database,
    metrics: Metrics,
    opened: bool,
    may_have_more: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.metrics.stream_closed();
    }
}

impl Reader {
    /// The next bytes; `None` when the service stops. It is only asked when the client has taken those before.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.opened {
            self.opened = true;
            return Some(Bytes::from_static(OPENING.as_bytes()));
        }
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => None,
            chunk = self.read() => chunk,
        }
    }

    async fn read(&mut self) -> Option<Bytes> {
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            if self.may_have_more {
                match self.messages().await {
                    Ok(messages) => {
                        self.may_have_more = messages.len() as i64 == MAX_ROWS;
                        if let Some(last) = messages.last() {
                            self.position = last.position;
                            return Some(written(&messages));
                        }
                    }
                    Err(error) => {
                        debug!(error = %error, "stream cannot read; it ends, and the client comes back");
                        return None;
                    }
                }
            }
            tokio::select! {
                said = self.said.recv() => match said {
                    Ok(Said::In(sessions)) => self.may_have_more = sessions.contains(&self.session),
                    Ok(Said::Somewhere) | Err(broadcast::error::RecvError::Lagged(_)) => self.may_have_more = true,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(heartbeat) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    async fn messages(&self) -> sqlx::Result<Vec<ChatMessage>> {
        let Ok(_turn) = self.reads.acquire().await else {
            return Ok(Vec::new());
        };
        let pool = self.database.conversations();
        let after = chat::after(pool, &self.session, self.position, MAX_ROWS);
        self.database.within(after).await
    }
}

fn written(messages: &[ChatMessage]) -> Bytes {
    let mut text = String::new();
    for message in messages {
        // JSON has no line breaks of its own.
        let data = serde_json::to_string(message).unwrap_or_default();
        text.push_str(&format!("id: {}\nevent: message\ndata: {data}\n\n", message.position));
    }
    text.into()
}
