//! What waits behind an event that failed is applied as soon as that one is.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::claims;
use crate::process::Process;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};

#[tokio::test]
async fn entity_that_is_mended_catches_up_at_once_and_in_order() {
    const EVENTS: i64 = 40;
    let (site, senders) = (Site::start().await, Senders::new());
    let door = site.door().started().await;
    senders.aim(door.url());
    for n in 1..=EVENTS {
        let event = Sent::new(format!("brittle/{n}"), "step.brittle", "brittle", &json!({"n": n}));
        senders.deliver(&event).await;
    }
    let _worker = site.work().started().await;
    eventually("all are parked", async || {
        site.number("select count(*) from rejoinder.parked_events").await == EVENTS
    })
    .await;
    site.run("insert into rejoinder.facts values ('entity', 'brittle', 'mended', '0', null, now())")
        .await;
    let mended = Instant::now();
    claims::hold(&site, &senders).await;
    // One a second is what polling alone would do.
    assert!(mended.elapsed() < Duration::from_secs(10), "{:?}", mended.elapsed());
    let total = "select value::text::int from rejoinder.facts where subject = 'brittle' and name = 'total'";
    assert_eq!(site.number(total).await, EVENTS, "the last one was applied last");
}

/// Of each rate: how many entities there are, and how many events of each.
const ENTITIES: u64 = 200;
const EACH: u64 = 100;

/// How many events of those entities come each second while they drain.
const ARRIVALS: u64 = 1_000;

/// `cargo test --release --test faults parked -- --ignored --nocapture`: three rates of one run, and what they are to each
/// other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes, and is for looking at"]
async fn parked_entities_drain_at_a_third_of_the_normal_rate_also_while_events_arrive() {
    let bulk = Bulk::start().await;
    bulk.mend("normal").await;
    bulk.store("normal").await;
    let worker = bulk.site.work().started().await;
    let normal = bulk.measure(NEW).await;
    println!("new events: {normal:.0} applied a second");
    bulk.site.drain().await;
    worker.end();
    for arrivals in [0, ARRIVALS] {
        let name = format!("parked while {arrivals} arrive");
        bulk.store(&name).await;
        let worker = bulk.site.work().started().await;
        bulk.is_parked().await;
        bulk.mend(&name).await;
        let is_over = AtomicBool::new(false);
        let drain = async {
            let drained = bulk.measure(PARKED).await;
            is_over.store(true, Relaxed);
            drained
        };
        let (drained, arrived) = tokio::join!(drain, bulk.arrive(&name, arrivals, &is_over));
        println!(
            "parked, while {arrived:.0} arrive a second: {drained:.0} drained a second, {:.2} of the new ones' rate",
            drained / normal
        );
        assert!(drained >= normal / 3.0);
        bulk.site.drain().await;
        worker.end();
    }
    claims::hold(&bulk.site, &bulk.senders).await;
}

/// How many wait, of those that are stored before, and of those that are parked.
const NEW: &str = "(select count(*) from rejoinder.event_log where event_type = 'step.brittle') - (select count(*) from rejoinder.event_outcomes)";
const PARKED: &str = "select count(*) from rejoinder.parked_events";

/// A service that takes in events of many entities.
struct Bulk {
    site: Site,
    senders: Senders,
    door: Process,
}

impl Bulk {
    async fn start() -> Self {
        let site = Site::start().await;
        Self {
            door: site.door().started().await,
            site,
            senders: Senders::new(),
        }
    }

    /// From now on the rule does not fail for these entities; it is read again.
    async fn mend(&self, name: &str) {
        self.site
            .run(&format!(
                "insert into rejoinder.facts select 'entity', '{name} ' || n, 'mended', '0', null, now()
                 from generate_series(0, {ENTITIES} - 1) n"
            ))
            .await;
        let rule = self.site.events_dir().join("reactions/brittle.toml");
        let mut rule = OpenOptions::new().append(true).open(rule).unwrap();
        writeln!(rule, "# mended: {name}").unwrap();
    }

    /// Sends each entity's events.
    async fn store(&self, name: &str) {
        for n in 1..=EACH {
            self.send(name, n, 0..ENTITIES).await;
        }
    }

    /// Sends the nth event of some entities.
    async fn send(&self, name: &str, n: u64, entities: std::ops::Range<u64>) {
        let events: Vec<Sent> = entities
            .map(|entity| {
                let entity = format!("{name} {entity}");
                Sent::new(format!("{entity}/{n}"), "step.brittle", &entity, &json!({"n": n}))
            })
            .collect();
        let url = self.door.url().unwrap();
        let answer = self.senders.post(&url, &Sent::together(&events)).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Waits until all of them are parked.
    async fn is_parked(&self) {
        eventually("all are parked", async || {
            self.site.number(PARKED).await == i64::try_from(ENTITIES * EACH).unwrap()
        })
        .await;
    }

    /// By how many fewer wait each second, from the first that is applied to the last.
    async fn measure(&self, waiting: &str) -> f64 {
        const APPLIED: &str = "select count(*) from rejoinder.event_outcomes";
        let before = self.site.number(APPLIED).await;
        eventually("the first is applied", async || {
            self.site.number(APPLIED).await > before
        })
        .await;
        let (began, waited) = (Instant::now(), self.site.number(waiting).await);
        while self.site.number(waiting).await > 0 {
            assert!(began.elapsed() < Duration::from_secs(300), "it does not drain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        waited as f64 / began.elapsed().as_secs_f64()
    }

    /// Sends so many a second on top, of all entities in turn, until it is over; how many it really were.
    async fn arrive(&self, name: &str, per_second: u64, is_over: &AtomicBool) -> f64 {
        const AT_ONCE: u64 = 50;
        let began = Instant::now();
        let mut sent = 0;
        while per_second > 0 && !is_over.load(Relaxed) {
            let (round, first) = (sent / ENTITIES, sent % ENTITIES);
            self.send(name, EACH + 1 + round, first..first + AT_ONCE).await;
            sent += AT_ONCE;
            let due = Duration::from_secs_f64(sent as f64 / per_second as f64);
            tokio::time::sleep_until((began + due).into()).await;
        }
        sent as f64 / began.elapsed().as_secs_f64()
    }
}
