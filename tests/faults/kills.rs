//! Two services and a worker on one database, killed -9 at any moment, over and over.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::claims::Faults;
use crate::process::Process;
use crate::sender::Senders;
use crate::site::{Site, random};

/// How many entities have steps, each of a sender of its own, and how many senders send orders.
const ENTITIES: usize = 16;
const ORDERERS: usize = 4;

/// How long a sender pauses between two events, on average.
const PAUSE_MS: u64 = 150;

/// How long after one kill the next comes, at most.
const APART_MS: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_lose_nothing_and_do_nothing_twice() {
    kill(300).await;
}

/// `KILLS=500 cargo test --test faults kills -- --ignored --nocapture` prints the table in `docs/faults.md`; without a
/// number it is 3,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour"]
#[expect(clippy::disallowed_methods, reason = "the number is of the test, not of the program")]
async fn thousands_of_kills_lose_nothing_and_do_nothing_twice() {
    kill(std::env::var("KILLS").map_or(3_000, |times| times.parse().unwrap())).await;
}

/// Kills one of three processes so often.
async fn kill(times: u32) {
    let began = Instant::now();
    let site = Site::start().await;
    let entities: Vec<String> = (0..ENTITIES).map(|entity| format!("entity {entity}")).collect();
    site.follow(&entities).await;
    let senders = Arc::new(Senders::new());
    let mut sending = tokio::task::JoinSet::new();
    for entity in entities {
        let senders = Arc::clone(&senders);
        sending.spawn(async move { senders.step_on(&entity, PAUSE_MS).await });
    }
    for orderer in 0..ORDERERS {
        let senders = Arc::clone(&senders);
        sending.spawn(async move { senders.order_on(&format!("order {orderer}"), 2 * PAUSE_MS).await });
    }

    let start = |which: usize| match which {
        0 => site.work(),
        _ => site.serve(),
    };
    let mut processes = [start(0), start(1), start(2)];
    let mut during_start = 0;
    for done in 1..=times {
        let which = random(3) as usize;
        // As often as not it is at work; else it may be starting still, where the machine is slow.
        if random(2) == 0 {
            crate::site::eventually("it has started", async || processes[which].is_started()).await;
        }
        let until = Instant::now() + Duration::from_millis(random(APART_MS));
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5).min(until - Instant::now())).await;
            senders.aim(processes.iter().skip(1).filter_map(Process::url));
        }
        for process in &mut processes {
            assert!(!process.has_ended(), "a process has ended by itself: {}", site.log());
        }
        during_start += u32::from(!processes[which].is_started());
        // The next one starts while the one before it still runs: then there are four for a moment.
        std::mem::replace(&mut processes[which], start(which)).kill();
        // As often as not the others need not wait until its silence is noticed: what it had begun may still be going
        // on in the database.
        if random(2) == 0 {
            site.age_workers().await;
        }
        if done % 100 == 0 {
            eprintln!("{done} of {times} kills, {} s", began.elapsed().as_secs());
        }
    }
    for process in &processes {
        crate::site::eventually("it has started", async || process.is_started()).await;
    }
    senders.aim(processes.iter().skip(1).filter_map(Process::url));
    senders.end();
    sending.join_all().await;
    site.drain().await;

    let found = Faults::find(&site, &senders).await;
    let figures = &senders.figures;
    let calls = site.receiver.calls();
    let distinct_calls = calls
        .iter()
        .map(|(id, _)| id)
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    let rows = [
        ("kill -9 of two services and a worker", i64::from(times)),
        ("of them while it started", during_start.into()),
        ("events acknowledged as new (202)", figures.stored.load(Relaxed) as i64),
        (
            "acknowledged as duplicates (200)",
            figures.duplicates.load(Relaxed) as i64,
        ),
        (
            "of them sent twice on purpose",
            figures.sent_on_purpose.load(Relaxed) as i64,
        ),
        (
            "requests cut off or not connected",
            figures.not_answered.load(Relaxed) as i64,
        ),
        ("requests refused (429, 503)", figures.refused.load(Relaxed) as i64),
        (
            "events in the log, emitted ones too",
            site.number("select count(*) from rejoinder.event_log").await,
        ),
        (
            "messages said",
            site.number("select count(*) from rejoinder.chat_messages").await,
        ),
        ("calls made", distinct_calls as i64),
        ("calls repeated under their id", (calls.len() - distinct_calls) as i64),
        (
            "joins settled",
            site.number("select count(*) from rejoinder.event_joins where state = 'done'")
                .await,
        ),
        (
            "joins timed out",
            site.number("select count(*) from rejoinder.event_joins where state = 'timed_out'")
                .await,
        ),
        (
            "events lost",
            found.not_stored + found.not_applied + found.without_effect,
        ),
        (
            "events applied twice",
            found.stored_twice + found.applied_twice + found.done_twice,
        ),
        ("entities out of order", found.out_of_order),
        ("seconds", began.elapsed().as_secs() as i64),
    ];
    for (what, count) in rows {
        println!("| {what:<40} | {count:>9} |");
    }
    assert_eq!(found, Faults::default(), "{}", site.log());
    // A run that hardly did anything proves nothing.
    assert!(figures.stored.load(Relaxed) > u64::from(times) && figures.not_answered.load(Relaxed) > 0);
}
