//! Killed -9 at each step between receive and send: the process is held there by a lock of the test's, until it is dead.

use std::sync::Arc;

use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tokio::task::JoinSet;

use crate::claims;
use crate::process::Process;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};

/// How often it is killed at each step.
const KILLS: u64 = 10;

const LOG: &str = "select pg_advisory_xact_lock(hashtext('rejoinder event log'))";

/// The steps of applying events, in their order, and what holds a worker there.
const APPLYING: [(&str, &str); 7] = [
    (
        "before the cursor moves",
        "lock table rejoinder.event_cursors in share mode",
    ),
    ("while opening joins", "lock table rejoinder.event_joins in share mode"),
    ("while writing facts", "lock table rejoinder.facts in share mode"),
    ("while writing the outbox", "lock table rejoinder.outbox in share mode"),
    (
        "while writing outcomes",
        "lock table rejoinder.event_outcomes in share mode",
    ),
    ("while emitting", LOG),
    (
        "while committing",
        "select pg_advisory_xact_lock(hashtext('the commit'))",
    ),
];

/// The steps of saying something in a conversation.
const SAYING: [(&str, &str); 2] = [
    (
        "before saying anything",
        "select pg_advisory_xact_lock(hashtext('rejoinder chat'))",
    ),
    (
        "while writing messages",
        "lock table rejoinder.chat_messages in share mode",
    ),
];

/// Makes a transaction that moves a cursor wait, at its commit, for who holds the lock above.
const HOLD_COMMITS: [&str; 2] = [
    "create function hold_commit() returns trigger language plpgsql as $$
     begin perform pg_advisory_xact_lock_shared(hashtext('the commit')); return null; end $$",
    "create constraint trigger hold_commit after insert on rejoinder.event_cursors deferrable initially deferred
     for each row execute function hold_commit()",
];

#[tokio::test]
async fn service_killed_while_it_stores_loses_nothing_and_stores_nothing_twice() {
    let test = Test::start().await;
    for (step, lock) in [
        ("before appending", LOG),
        ("while appending", "lock table rejoinder.event_log in share mode"),
    ] {
        let mut door = test.open_door().await;
        for n in 1..=KILLS {
            let held = Held::take(&test.site, lock).await;
            let sending = test.send_steps(step, n);
            let caught = held.caught(&test.site).await;
            door.kill();
            held.release(&test.site, &caught).await;
            door = test.open_door().await;
            sending.join_all().await;
        }
    }
    test.claims_hold().await;
}

#[tokio::test]
async fn service_killed_between_the_commit_and_the_answer_stores_nothing_twice() {
    let test = Test::start().await;
    let mut door = test.open_door().await;
    for n in 1..=KILLS {
        let held = Held::take(&test.site, LOG).await;
        let sending = test.send_steps("stored", n);
        let caught = held.caught(&test.site).await;
        let before = test.site.number("select count(*) from rejoinder.event_log").await;
        // The database stores what it has been sent; the service does not learn of it.
        door.stop();
        held.release(&test.site, &caught).await;
        eventually("it is stored", async || {
            test.site.number("select count(*) from rejoinder.event_log").await > before
        })
        .await;
        door.kill();
        door = test.open_door().await;
        sending.join_all().await;
    }
    assert!(
        test.senders
            .figures
            .duplicates
            .load(std::sync::atomic::Ordering::Relaxed)
            >= KILLS
    );
    test.claims_hold().await;
}

#[tokio::test]
async fn worker_killed_while_it_applies_or_says_applies_everything_once() {
    let test = Test::start().await;
    let _door = test.open_door().await;
    for statement in HOLD_COMMITS {
        test.site.run(statement).await;
    }
    for (step, lock) in APPLYING.into_iter().chain(SAYING) {
        println!("killed {KILLS} times {step}");
        test.site.follow(&entities(step)).await;
        for n in 1..=KILLS {
            test.send_steps(step, n).join_all().await;
            test.senders.deliver(&Sent::half(&format!("{step} {n}"), "paid")).await;
            test.senders
                .deliver(&Sent::half(&format!("{step} {n}"), "packed"))
                .await;
            test.kill_worker_at(lock).await;
            // An event that was alone when five workers ended in a row is given up: it may be what ends them.
            if n % 3 == 0 {
                let _goes_on = test.work().await;
                test.site.drain().await;
            }
        }
        test.claims_hold().await;
    }
}

#[tokio::test]
async fn worker_killed_while_it_calls_calls_again_under_the_same_id() {
    let test = Test::start().await;
    let _door = test.open_door().await;
    for n in 1..=2 * KILLS {
        let id = format!("call/{n}");
        test.senders
            .deliver(&Sent::new(id, "step.taken", "call", &json!({"n": n})))
            .await;
        if n % 4 != 0 {
            continue;
        }
        for is_marking in [false, true, false, true] {
            let calls = test.site.receiver.calls().len();
            test.site.receiver.stall(true);
            let worker = test.work().await;
            test.site.hurry().await;
            eventually("it calls", async || test.site.receiver.calls().len() > calls).await;
            if is_marking {
                let held = Held::take(&test.site, "lock table rejoinder.outbox in share mode").await;
                test.site.receiver.stall(false);
                let caught = held.caught(&test.site).await;
                worker.kill();
                held.release(&test.site, &caught).await;
            } else {
                worker.kill();
            }
            test.site.receiver.stall(false);
            // What was being marked as sent is, whether or not anybody learns of it.
            eventually("the call may be made again", async || {
                test.site
                    .number(
                        "select count(*) from pg_stat_activity where application_name = 'rejoinder events'
                             and query like 'update rejoinder.outbox%' and state = 'active'",
                    )
                    .await
                    == 0
            })
            .await;
            if test
                .site
                .number("select count(*) from rejoinder.outbox where state = 'pending' and channel = 'call'")
                .await
                == 0
            {
                break;
            }
        }
    }
    test.claims_hold().await;
    let calls = test.site.receiver.calls();
    assert!(calls.len() > usize::try_from(KILLS).unwrap() / 2, "{calls:?}");
}

#[tokio::test]
async fn worker_killed_while_it_retries_a_parked_event_applies_it_once() {
    let test = Test::start().await;
    let _door = test.open_door().await;
    for n in 1..=KILLS {
        let entity = format!("brittle {n}");
        for id in 1..=3 {
            let event = Sent::new(format!("{entity}/{id}"), "step.brittle", &entity, &json!({"n": id}));
            test.senders.deliver(&event).await;
        }
        let parks = test.work().await;
        eventually("they are parked", async || {
            test.site.number("select count(*) from rejoinder.parked_events").await == 3
        })
        .await;
        parks.kill();
        test.site
            .run(&format!(
                "insert into rejoinder.facts values ('entity', '{entity}', 'mended', '0', null, now())"
            ))
            .await;
        test.site.hurry().await;
        test.kill_worker_at("lock table rejoinder.parked_events in share mode")
            .await;
        let _mends = test.work().await;
        test.site.drain().await;
    }
    test.claims_hold().await;
    assert_eq!(
        test.site
            .number("select count(*) from rejoinder.event_log where event_type = 'order.mended'")
            .await,
        3 * i64::try_from(KILLS).unwrap()
    );
}

#[tokio::test]
async fn worker_killed_while_a_join_times_out_times_it_out_once() {
    let test = Test::start().await;
    let _door = test.open_door().await;
    for n in 1..=KILLS {
        test.senders.deliver(&Sent::half(&format!("late {n}"), "paid")).await;
        let opens = test.work().await;
        eventually("it waits", async || {
            test.site
                .number("select count(*) from rejoinder.event_joins where rule = 'punctual' and state = 'open'")
                .await
                == 1
        })
        .await;
        opens.kill();
        test.site
            .run("update rejoinder.event_joins set deadline = now() where rule = 'punctual' and state = 'open'")
            .await;
        test.kill_worker_at("lock table rejoinder.event_joins in share mode")
            .await;
        let _times_out = test.work().await;
        test.site.drain().await;
    }
    test.claims_hold().await;
    assert_eq!(
        test.site
            .number("select count(*) from rejoinder.event_log where event_type = 'order.late'")
            .await,
        i64::try_from(KILLS).unwrap()
    );
}

/// A site, and who sends to it.
struct Test {
    site: Site,
    senders: Arc<Senders>,
}

impl Test {
    async fn start() -> Self {
        Self {
            site: Site::start().await,
            senders: Arc::new(Senders::new()),
        }
    }

    /// A service that only takes events in; events are sent to it from now on.
    async fn open_door(&self) -> Process {
        let door = self.site.door().started().await;
        self.senders.aim(door.url());
        door
    }

    /// A worker that has all partitions as soon as it has started.
    async fn work(&self) -> Process {
        self.site.age_workers().await;
        self.site.work().started().await
    }

    /// Begins to send the nth step of some entities.
    fn send_steps(&self, name: &str, n: u64) -> JoinSet<()> {
        let mut sending = JoinSet::new();
        for entity in entities(name) {
            let senders = Arc::clone(&self.senders);
            let event = Sent::step(&entity, n);
            sending.spawn(async move { senders.deliver(&event).await });
        }
        sending
    }

    /// Starts a worker, and kills it when it waits for this lock.
    async fn kill_worker_at(&self, lock: &str) {
        let held = Held::take(&self.site, lock).await;
        let worker = self.work().await;
        let caught = held.caught(&self.site).await;
        worker.kill();
        held.release(&self.site, &caught).await;
    }

    async fn claims_hold(&self) {
        let _worker = self.work().await;
        claims::hold(&self.site, &self.senders).await;
    }
}

/// Entities of different partitions.
fn entities(name: &str) -> Vec<String> {
    (0..3).map(|entity| format!("{name} {entity}")).collect()
}

/// A lock that the test holds.
pub(crate) struct Held {
    transaction: Transaction<'static, Postgres>,
    pid: i32,
}

impl Held {
    pub(crate) async fn take(site: &Site, lock: &str) -> Self {
        let mut transaction = site.pool.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(lock))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let pid = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        Self { transaction, pid }
    }

    /// Waits until somebody waits for it, and returns who, as PostgreSQL's process ids.
    pub(crate) async fn caught(&self, site: &Site) -> Vec<i32> {
        let mut caught = Vec::new();
        eventually("somebody waits for the lock", async || {
            caught = sqlx::query_scalar("select pid from pg_stat_activity where $1 = any(pg_blocking_pids(pid))")
                .bind(self.pid)
                .fetch_all(&site.pool)
                .await
                .unwrap();
            !caught.is_empty()
        })
        .await;
        caught
    }

    /// Lets them go on, and waits until the database has noticed of those whose process is dead that it is.
    pub(crate) async fn release(self, site: &Site, caught: &[i32]) {
        self.transaction.commit().await.unwrap();
        eventually("who waited for the lock goes on", async || {
            let waiting: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where pid = any($1) and state = 'active'")
                    .bind(caught)
                    .fetch_one(&site.pool)
                    .await
                    .unwrap();
            waiting == 0
        })
        .await;
    }
}
