//! Tables that somebody locks, as a migration or VACUUM FULL does: what needs them waits, and all else goes on.

use std::time::Duration;

use crate::load::Load;
use crate::site::Site;
use crate::steps::Held;
use crate::turns::Users;

/// Tables that no handler needs, and those that the memory of a conversation is in.
const EVENTS: [&str; 4] = ["event_log", "event_cursors", "chat_messages", "outbox"];
const MEMORY: [&str; 2] = ["facts", "conversations"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_table_of_events_loses_nothing_and_turns_do_not_notice() {
    lock(&EVENTS, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_table_of_the_memory_loses_nothing_and_turns_are_answered_in_time() {
    lock(&MEMORY, Duration::from_secs(9)).await;
}

/// `cargo test --test faults locks:: -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes"]
async fn tables_that_are_locked_for_longer_than_a_statement_may_run_lose_nothing() {
    lock(&[EVENTS.as_slice(), &MEMORY].concat(), Duration::from_secs(45)).await;
}

/// Locks one table after the other for so long.
async fn lock(tables: &[&str], during: Duration) {
    let (site, load) = (Site::start().await, Load::new());
    let processes = load.start(&site).await;
    let url = processes[0].url().unwrap();
    let users = Users::of(&site, &url).await;
    for table in tables {
        load.goes_on().await;
        let (acknowledged, refused) = (load.senders.acknowledged().len(), load.refused());
        let held = Held::take(&site, &format!("lock table rejoinder.{table} in access exclusive mode")).await;
        held.caught(&site).await;
        let answers = users.ask(during).await;
        held.release(&site, &[]).await;
        println!(
            "{table} locked: {answers}; {} events acknowledged, {} refused",
            load.senders.acknowledged().len() - acknowledged,
            load.refused() - refused,
        );
        answers.were_in_time();
        if EVENTS.contains(table) {
            answers.told_all();
        }
    }
    load.end(&site).await;
}
