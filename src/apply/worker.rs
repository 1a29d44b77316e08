//! A worker: applies the events of the partitions that it holds, each partition in order, several at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::PgExecutor;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::apply::{Applier, BATCH_BYTES, BATCH_EVENTS, Halt, Lane};
use crate::clock::Clock;
use crate::event::partition::{Partition, Partitions};
use crate::event::vitals::Vitals;
use crate::log::lease::{BEAT, Leases};
use crate::log::wake::Wake;
use crate::log::{self, doubt, parked};
use crate::postgres::Database;
use crate::rulebook::Edition;

/// Tells other processes that partitions have new events; the payload is who says so, and the partitions as bits.
const CHANNEL: &str = "rejoinder_events";

/// At most one such message in this time: the events of many commits are one wake-up.
const COALESCE: Duration = Duration::from_millis(5);

/// How often the database is asked whether a wake-up was missed, or something is due.
const POLL: Duration = Duration::from_secs(1);

/// How many batches of parked events are applied before one of new events. Partitions take turns, and what parked events
/// emit is new: one for one, each batch of them would wait for a batch of every other partition.
const RETRIES: u32 = 4;

/// How long to wait after the database failed.
const RECOVER: Duration = Duration::from_millis(500);

/// How long it may take to give the partitions up.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// A worker of this process.
pub(crate) struct Worker {
    id: Uuid,
    database: Database,
    clock: Clock,
    applier: Applier,
    leases: Leases,
    vitals: Vitals,
    /// Partitions in which this process has stored something.
    wake: Wake,
    lanes: Vec<Notify>,
    places: Semaphore,
}

impl Worker {
    /// A worker that applies in `places` partitions at once.
    pub(crate) fn new(
        id: Uuid,
        database: Database,
        clock: Clock,
        applier: Applier,
        wake: Wake,
        places: usize,
    ) -> Arc<Self> {
        let vitals = applier.metrics.vitals.clone();
        vitals.beat.done();
        Arc::new(Self {
            id,
            leases: Leases::new(id, database.events().clone()),
            vitals,
            database,
            clock,
            applier,
            wake,
            lanes: Partitions::ALL.iter().map(|_| Notify::new()).collect(),
            places: Semaphore::new(places),
        })
    }

    /// Works until dropped. What is being applied then is rolled back.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        for partition in Partitions::ALL.iter() {
            let worker = Arc::clone(&self);
            tasks.spawn(async move { worker.work(partition).await });
        }
        tasks.spawn(Arc::clone(&self).beat());
        tasks.spawn(Arc::clone(&self).poll());
        tasks.spawn(Arc::clone(&self).listen());
        loop {
            self.rouse(self.wake.taken().await);
        }
    }

    /// Gives its partitions to the others.
    pub(crate) async fn release(&self) {
        let released = async {
            if let Err(error) = parked::give_up(self.database.events(), self.id).await {
                info!(error = %error, "attempts not given up; their events are tried with care");
            }
            self.leases.release().await
        };
        match tokio::time::timeout(RELEASE_LIMIT, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => info!(error = %error, "leases not given up; the others take them in a few seconds"),
            Err(_) => info!("leases not given up in time; the others take them in a few seconds"),
        }
    }

    fn rouse(&self, partitions: Partitions) {
        for partition in partitions.iter() {
            self.lanes[partition.index()].notify_one();
        }
    }

    /// Has a partition tried with care from now on.
    async fn doubt(&self, partition: Partition) -> sqlx::Result<()> {
        let mut transaction = self.database.events().begin().await?;
        parked::broke_off(&mut transaction, partition, self.id).await?;
        doubt::note(&mut transaction, partition).await?;
        transaction.commit().await
    }

    async fn work(&self, partition: Partition) {
        let mut lane = None;
        loop {
            self.lanes[partition.index()].notified().await;
            // Never closed.
            let Ok(_place) = self.places.acquire().await else {
                return;
            };
            let worked = AssertUnwindSafe(self.advance(&mut lane, partition)).catch_unwind();
            let worked = self.database.within(async {
                match worked.await {
                    Ok(worked) => worked,
                    Err(_) => {
                        error!(
                            partition = partition.number(),
                            "applying events has panicked; trying again, with care"
                        );
                        let noted = self.doubt(partition).await;
                        Err(Halt::Database(noted.err().unwrap_or(sqlx::Error::WorkerCrashed)))
                    }
                }
            });
            let worked = worked.await;
            match worked {
                // After the others that wait for a place.
                Ok(true) => self.lanes[partition.index()].notify_one(),
                Ok(false) => {}
                Err(Halt::Fenced) => {
                    debug!(partition = partition.number(), "the partition is not as it was read");
                    lane = None;
                }
                Err(Halt::Database(error)) => {
                    warn!(partition = partition.number(), error = %error, "events not applied; trying again");
                    lane = None;
                    tokio::time::sleep(RECOVER).await;
                    self.lanes[partition.index()].notify_one();
                }
            }
        }
    }

    /// Applies what is due in a partition, and the next events; true when there may be more.
    async fn advance(&self, known: &mut Option<Lane>, partition: Partition) -> Result<bool, Halt> {
        if !self.leases.held().contains(partition) {
            *known = None;
            return Ok(false);
        }
        let lane = match known {
            Some(lane) => lane,
            None => known.insert(self.applier.load(partition).await?),
        };
        let is_due = self.applier.due.remove(partition);
        let mut retried = 0;
        while is_due && retried < RETRIES && self.applier.retry(lane).await? {
            retried += 1;
        }
        let has_retried = retried > 0;
        let events = log::read(
            self.database.events(),
            partition,
            lane.position(),
            BATCH_EVENTS,
            BATCH_BYTES,
        )
        .await?;
        let is_doubted = lane.is_doubted();
        self.applier.apply(lane, &events).await?;
        let is_over = is_due && events.is_empty() && !has_retried && self.applier.time_out(lane).await?;
        if has_retried || is_over || is_doubted || (is_due && !events.is_empty()) {
            // What waited behind one that is done is due at once, and there may be more joins whose time is over.
            self.applier.due.add(partition.into());
        }
        Ok(has_retried || is_over || is_doubted || !events.is_empty())
    }

    async fn beat(self: Arc<Self>) {
        loop {
            match self.database.within(self.leases.beat()).await {
                Ok(new) => {
                    self.vitals.beat.done();
                    self.applier.metrics.leases.set(self.leases.held().len().into());
                    if !new.is_empty() {
                        info!(partitions = new.len(), worker = %self.id, "partitions taken over");
                        self.applier.due.add(new);
                        self.rouse(new);
                    }
                }
                Err(error) => info!(error = %error, "leases not renewed; trying again"),
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn poll(self: Arc<Self>) {
        let mut book = self.applier.rulebook.edition();
        loop {
            tokio::time::sleep(POLL).await;
            let held = self.leases.held();
            let looked = self.look_after_faults(&mut book, held);
            if let Err(error) = self.database.within(looked).await {
                info!(error = %error, "rules that fail not looked after; trying again");
            }
            let asked = waiting(self.database.events(), held, self.clock.now());
            match self.database.within(asked).await {
                Ok((new, due)) => {
                    self.applier.due.add(due);
                    self.rouse(new.or(due));
                }
                Err(error) => info!(error = %error, "not polled for events; trying again"),
            }
        }
    }

    /// What failed by other rules than those of today is due at once; of what waits for a rule that is held, one event is
    /// tried now and then.
    async fn look_after_faults(&self, book: &mut Arc<Edition>, held: Partitions) -> sqlx::Result<()> {
        let (now, today) = (self.clock.now(), self.applier.rulebook.edition());
        if !Arc::ptr_eq(book, &today) {
            let due = parked::try_anew(self.database.events(), held, now).await?;
            if due > 0 {
                info!(events = due, "events that had failed are tried by the new rules");
            }
            self.applier.faults.clear();
            *book = today;
        }
        for rule in self.applier.faults.to_probe(now) {
            parked::probe(self.database.events(), held, &rule, now).await?;
        }
        Ok(())
    }

    async fn listen(self: Arc<Self>) {
        loop {
            if let Err(error) = self.listen_once().await {
                info!(error = %error, "not listening for events of other processes; trying again");
            }
            tokio::time::sleep(RECOVER).await;
        }
    }

    async fn listen_once(&self) -> sqlx::Result<()> {
        let mut listener = self.database.listen(&[CHANNEL]).await?;
        loop {
            // Polling stands behind it, so nothing need be looked for when something may have been missed.
            let Some(notification) = listener.next().await? else {
                continue;
            };
            let Some((from, partitions)) = notification.payload().split_once(' ') else {
                continue;
            };
            if from != self.id.to_string() {
                self.rouse(partitions.parse().map_or(Partitions::ALL, Partitions::from_bits));
            }
        }
    }
}

/// Tells the workers of other processes what this one has stored; runs until dropped.
pub(crate) async fn herald(id: Uuid, database: Database, stored: Wake) {
    loop {
        let partitions = stored.taken().await;
        // Polling stands behind it, so a message that is lost costs a second.
        if let Err(error) = database.within(tell(database.events(), id, partitions)).await {
            debug!(error = %error, "other workers not told of new events");
        }
        tokio::time::sleep(COALESCE).await;
    }
}

async fn tell(executor: impl PgExecutor<'_>, id: Uuid, partitions: Partitions) -> sqlx::Result<()> {
    // Nothing is lost with it, so its commit need not wait for the disk.
    sqlx::query!(
        "select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)
         where exists (select from rejoinder.event_workers where id <> $3)",
        CHANNEL,
        format!("{id} {}", partitions.bits()),
        id
    )
    .fetch_optional(executor)
    .await?;
    Ok(())
}

/// Of these partitions, those that have events after their cursor, and those in which something is due.
async fn waiting(
    executor: impl PgExecutor<'_>,
    partitions: Partitions,
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<(Partitions, Partitions)> {
    let rows = sqlx::query!(
        r#"select p.partition as "partition!",
               exists (select from rejoinder.event_log l where l.partition = p.partition and l.position > coalesce(
                   (select c.position from rejoinder.event_cursors c where c.partition = p.partition order by c.seq desc limit 1),
                   0)) as "has_new!",
               exists (select from rejoinder.parked_events e where e.partition = p.partition and e.retry_at <= $2)
                   or exists (select from rejoinder.event_joins j where j.partition = p.partition and j.state = 'open'
                       and j.deadline <= $2) as "is_due!"
           from unnest($1::smallint[]) p (partition)"#,
        &partitions.numbers(),
        now
    )
    .fetch_all(executor)
    .await?;
    let those = |is: fn(bool, bool) -> bool| {
        let rows = rows.iter().filter(|row| is(row.has_new, row.is_due));
        rows.filter_map(|row| Partition::numbered(row.partition)).collect()
    };
    Ok((those(|new, _| new), those(|_, due| due)))
}
