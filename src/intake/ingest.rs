//! Storing events: one commit for the requests of many senders.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::clock::{Clock, before};
use crate::event::envelope::Envelope;
use crate::event::metrics::EventMetrics;
use crate::event::partition::Partitions;
use crate::log::wake::Wake;
use crate::log::{self, Appended, Log};
use crate::postgres::is_about_data;

/// What is appended at a time: so many events, or so many bytes of payload, whichever comes first.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How much may wait to be stored, in KiB of payload and in requests.
const QUEUE_KIB: usize = 64 * 1024;
const QUEUE_REQUESTS: usize = 10_000;

/// How long one step of storing may take.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// How soon a database that cannot be reached is tried again, and for how long before those who wait are told.
const REOPEN: Duration = Duration::from_millis(100);
const REACH_LIMIT: Duration = Duration::from_secs(2);

/// A line on which nothing comes for so long is given up, before what stands between us and the database forgets it.
const IDLE: Duration = Duration::from_secs(60);

/// How many connections of lines that were given up may still wait in the database, for its disk or its standby.
const LEFT: i64 = 4;

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
    waits_since: Instant,
    done: oneshot::Sender<Vec<Appended>>,
    _room: OwnedSemaphorePermit,
}

impl Ingest {
    /// The flusher runs until the value is dropped, and stores what waits then. `wakes` learn of the partitions in which
    /// something was stored: one for this process's worker, one for those of others.
    pub(crate) fn start(pool: PgPool, clock: Clock, wakes: [Wake; 2], metrics: EventMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_REQUESTS);
        let flusher = Flusher {
            name: format!("rejoinder ingest {}", Uuid::new_v4().simple()),
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
            waits_since: Instant::now(),
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

/// Stores what waits, in two steps that overlap: while one connection makes a batch durable, the other appends the next.
///
/// An append commits without waiting for the disk. A later commit that does wait makes durable whatever was committed
/// before it, for there is one write-ahead log; so one such commit ends each batch, on the other connection. If the
/// database crashed between the two, the batch could be lost and the commit succeed after the restart: therefore both
/// connections are opened before the append, and are given up together. One that has outlived the append has seen no
/// crash.
struct Flusher {
    /// What the database calls its connections.
    name: String,
    pool: PgPool,
    clock: Clock,
    wakes: [Wake; 2],
    metrics: EventMetrics,
    log: Log,
}

/// The connection that appends, and the one that makes it durable.
struct Line {
    appends: PgConnection,
    confirms: PgConnection,
}

/// A request whose events are appended; they are durable once a later commit is.
struct Visible {
    request: Request,
    appended: Vec<Appended>,
}

impl Flusher {
    async fn run(self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(first) = waiting.recv().await {
            match tokio::time::timeout(REACH_LIMIT, self.reach()).await {
                Ok(line) => {
                    if let Err(error) = self.store(line, first, &mut waiting).await {
                        warn!(error = %error, "events were not stored");
                    }
                }
                Err(_) => {
                    let others = std::iter::from_fn(|| waiting.try_recv().ok()).count();
                    warn!(
                        requests = 1 + others,
                        "the database cannot be reached; events were not stored"
                    );
                }
            }
        }
    }

    /// Stores what comes, until nothing does for a while, or something fails; then those who wait for it are not told that
    /// it is stored.
    async fn store(&self, mut line: Line, first: Request, waiting: &mut mpsc::Receiver<Request>) -> sqlx::Result<()> {
        let mut visible = self.append(&mut line.appends, batch(first, waiting)).await?;
        loop {
            let append_next = async {
                match tokio::time::timeout(IDLE, waiting.recv()).await {
                    Ok(Some(first)) => self.append(&mut line.appends, batch(first, waiting)).await.map(Some),
                    Ok(None) | Err(_) => Ok(None),
                }
            };
            let ((), next) = tokio::try_join!(self.confirm(&mut line.confirms, visible), append_next)?;
            let Some(next) = next else { return Ok(()) };
            visible = next;
        }
    }

    /// Opens a line as soon as the database can be reached.
    async fn reach(&self) -> Line {
        loop {
            match self.open().await {
                Ok(line) => return line,
                Err(error) => debug!(error = %error, "no connection to store events on; trying again"),
            }
            tokio::time::sleep(REOPEN).await;
        }
    }

    async fn open(&self) -> sqlx::Result<Line> {
        let options = self
            .pool
            .connect_options()
            .as_ref()
            .clone()
            .application_name(&self.name);
        let mut confirms = PgConnection::connect_with(&options).await?;
        // What `local`, `remote_write` or `remote_apply` says is left as it is.
        sqlx::query!(
            "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
        )
        .fetch_optional(&mut confirms)
        .await?;
        // A connection that is dropped while its commit waits is not gone: the database looks at it after the wait.
        let left = sqlx::query_scalar!(
            r#"select count(pg_terminate_backend(pid)) as "left!" from pg_stat_activity
               where application_name = $1 and pid <> pg_backend_pid()"#,
            self.name
        )
        .fetch_one(&mut confirms)
        .await?;
        if left > LEFT {
            return Err(io::Error::other(format!("{left} connections of before still wait in the database")).into());
        }
        let appends = PgConnection::connect_with(&options.options([("synchronous_commit", "off")])).await?;
        Ok(Line { appends, confirms })
    }

    /// Appends the events of some requests, for workers to see; returns the requests of which that is done.
    async fn append(&self, connection: &mut PgConnection, requests: Vec<Request>) -> sqlx::Result<Vec<Visible>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        match self.append_together(connection, &requests).await {
            Ok(appended) => Ok(self.visible(requests, &appended)),
            Err(error) if !is_about_data(&error) => Err(error),
            Err(error) if requests.len() == 1 => {
                warn!(error = %error, "events of a request were not stored");
                Ok(Vec::new())
            }
            // What one sender sent must not keep the others' from being stored.
            Err(error) => {
                warn!(error = %error, requests = requests.len(), "events were not stored together; storing each request's alone");
                let mut visible = Vec::new();
                for request in requests {
                    visible.extend(Box::pin(self.append(connection, vec![request])).await?);
                }
                Ok(visible)
            }
        }
    }

    async fn append_together(
        &self,
        connection: &mut PgConnection,
        requests: &[Request],
    ) -> sqlx::Result<Vec<Appended>> {
        let events: Vec<&Envelope> = requests.iter().flat_map(|request| &request.events).collect();
        let now = self.clock.now();
        in_time(async {
            self.log.make_room(&self.pool, now).await?;
            log::append(connection, &events, now, now - log::KNOWN_FOR).await
        })
        .await
    }

    /// Tells workers what they can see.
    fn visible(&self, requests: Vec<Request>, appended: &[Appended]) -> Vec<Visible> {
        let mut partitions = Partitions::default();
        let mut rest = appended;
        let visible = requests.into_iter().map(|request| {
            let (own, after) = rest.split_at(request.events.len());
            rest = after;
            for (event, appended) in request.events.iter().zip(own) {
                if appended.is_new {
                    partitions = partitions.or(event.partition().into());
                }
            }
            Visible {
                request,
                appended: own.to_vec(),
            }
        });
        let visible = visible.collect();
        for wake in &self.wakes {
            wake.add(partitions);
        }
        visible
    }

    /// Makes durable what was appended, and tells those who wait for it.
    async fn confirm(&self, connection: &mut PgConnection, visible: Vec<Visible>) -> sqlx::Result<()> {
        if visible.is_empty() {
            return Ok(());
        }
        // It writes to the write-ahead log and nowhere else; a commit that wrote nothing would not wait for the disk.
        let commit = sqlx::query!("select from pg_logical_emit_message(true, 'rejoinder', '')");
        in_time(commit.execute(connection)).await?;
        for Visible { request, appended } in visible {
            self.metrics.stored(request.waits_since.elapsed());
            // Who waited may have gone; the sender comes again and is told that it is a duplicate.
            request.done.send(appended).ok();
        }
        Ok(())
    }
}

/// The requests that go into one append: those that wait, up to a bound, and are waited for.
fn batch(first: Request, waiting: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let (mut events, mut bytes) = (0, 0);
    let mut requests = Vec::new();
    let mut next = Some(first);
    while let Some(request) = next {
        if !request.done.is_closed() {
            (events, bytes) = (events + request.events.len(), bytes + request.bytes);
            requests.push(request);
        }
        let is_full = events >= BATCH_EVENTS || bytes >= BATCH_BYTES;
        next = if is_full { None } else { waiting.try_recv().ok() };
    }
    requests
}

async fn in_time<T>(step: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let done = tokio::time::timeout(STEP_LIMIT, step).await;
    done.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()))
}
