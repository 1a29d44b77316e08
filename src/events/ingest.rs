//! Storing events: one commit for the requests of many senders.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::envelope::Envelope;
use super::log::{self, Appended, Log};
use super::metrics::EventMetrics;
use super::wake::Wake;
use crate::clock::{Clock, before};

/// What one commit takes: so many events, or so many bytes of payload, whichever comes first.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How much may wait to be stored, in KiB of payload and in requests.
const QUEUE_KIB: usize = 64 * 1024;
const QUEUE_REQUESTS: usize = 10_000;

/// How long one commit may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// The way into the log. Events of requests that come while a commit is under way go into the next one together, so a
/// commit serves one request when few come and hundreds when many do, and none waits for a timer.
pub(crate) struct Ingest {
    queue: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

/// Events are not known to be stored; the sender must come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotStored {
    /// So much waits already that nothing more is taken.
    #[error("too much waits to be stored")]
    Full,
    /// The database did not confirm it in time. It may be stored all the same: then it is a duplicate when it comes again.
    #[error("the database did not confirm it in time")]
    Unconfirmed,
}

struct Request {
    events: Vec<Envelope>,
    bytes: usize,
    done: oneshot::Sender<Vec<Appended>>,
    _room: OwnedSemaphorePermit,
}

impl Ingest {
    /// The flusher runs until the value is dropped, and stores what waits then. `wakes` learn of the partitions in which
    /// something was stored: one for this process's worker, one for those of others.
    pub(crate) fn start(pool: PgPool, clock: Clock, wakes: [Wake; 2], metrics: EventMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_REQUESTS);
        let flusher = Flusher {
            pool,
            clock,
            wakes,
            metrics,
            log: Log::default(),
        };
        tokio::spawn(flusher.run(waiting));
        Self {
            queue,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
        }
    }

    /// Stores the events of one request, in order, and returns what became of each once that is durable.
    ///
    /// All of them are stored by one commit or none is.
    ///
    /// # Errors
    /// [`NotStored`] when they are not known to be durable by `deadline`.
    pub(crate) async fn store(&self, events: Vec<Envelope>, deadline: Instant) -> Result<Vec<Appended>, NotStored> {
        let bytes: usize = events.iter().map(|event| event.payload.get().len()).sum();
        // 1 KiB for what is not payload.
        let kib = u32::try_from(events.len() + bytes / 1024).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(kib)
            .map_err(|_| NotStored::Full)?;
        let (done, stored) = oneshot::channel();
        let request = Request {
            events,
            bytes,
            done,
            _room: room,
        };
        self.queue.try_send(request).map_err(|_| NotStored::Full)?;
        match before(deadline, stored).await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(_)) | Err(_) => Err(NotStored::Unconfirmed),
        }
    }

    /// How much of the room for waiting events is taken, from 0 to 1.
    pub(crate) fn pressure(&self) -> f64 {
        let free_room = self.room.available_permits() as f64 / QUEUE_KIB as f64;
        let free_places = self.queue.capacity() as f64 / QUEUE_REQUESTS as f64;
        1.0 - free_room.min(free_places)
    }
}

struct Flusher {
    pool: PgPool,
    clock: Clock,
    wakes: [Wake; 2],
    metrics: EventMetrics,
    log: Log,
}

impl Flusher {
    async fn run(self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(first) = waiting.recv().await {
            let (mut events, mut bytes) = (first.events.len(), first.bytes);
            let mut batch = vec![first];
            while events < BATCH_EVENTS && bytes < BATCH_BYTES {
                let Ok(next) = waiting.try_recv() else { break };
                (events, bytes) = (events + next.events.len(), bytes + next.bytes);
                batch.push(next);
            }
            // Nobody may be left who waits for one.
            batch.retain(|request| !request.done.is_closed());
            self.flush(batch).await;
        }
    }

    async fn flush(&self, batch: Vec<Request>) {
        match self.store(&batch).await {
            Ok(appended) => self.tell(batch, &appended),
            // What one sender sent must not keep the others' from being stored.
            Err(sqlx::Error::Database(error)) if batch.len() > 1 => {
                warn!(error = %error, requests = batch.len(), "events were not stored together; storing each request's alone");
                for request in batch {
                    let alone = vec![request];
                    match self.store(&alone).await {
                        Ok(appended) => self.tell(alone, &appended),
                        Err(error) => warn!(error = %error, "events of a request were not stored"),
                    }
                }
            }
            Err(error) => warn!(error = %error, requests = batch.len(), "events were not stored"),
        }
    }

    async fn store(&self, batch: &[Request]) -> sqlx::Result<Vec<Appended>> {
        let events: Vec<&Envelope> = batch.iter().flat_map(|request| &request.events).collect();
        let started = Instant::now();
        let stored = tokio::time::timeout(FLUSH_LIMIT, async {
            let now = self.clock.now();
            let mut connection = self.pool.acquire().await?;
            self.log.make_room(&mut connection, now).await?;
            log::append(&mut connection, &events, now, now - log::KNOWN_FOR).await
        });
        let appended = stored.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        self.metrics.stored(started.elapsed());
        Ok(appended)
    }

    fn tell(&self, batch: Vec<Request>, appended: &[Appended]) {
        let mut partitions = 0;
        let mut rest = appended;
        for request in batch {
            let (own, after) = rest.split_at(request.events.len());
            rest = after;
            for (event, appended) in request.events.iter().zip(own) {
                if appended.is_new {
                    partitions |= 1 << event.partition();
                }
            }
            // Who waited may have gone; the sender comes again and is told that it is a duplicate.
            request.done.send(own.to_vec()).ok();
        }
        for wake in &self.wakes {
            wake.add(partitions);
        }
    }
}
