//! The database goes away, drops its connections or refuses to write, while events come in and are applied.

use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection as _, PgConnection};

use crate::load::Load;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};
use crate::steps::Held;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_that_restarts_is_told_as_503_and_loses_nothing() {
    let (mut site, load) = (Site::start().await, Load::new());
    let processes = load.start(&site).await;
    let url = processes[0].url().unwrap();
    for is_killed in [false, true, false, true] {
        load.goes_on().await;
        if is_killed {
            kill(Pid::from_raw(site.postmaster()), Signal::SIGKILL).unwrap();
        } else {
            site.database.stop();
        }
        let event = Sent::step("of nobody", 1);
        eventually("senders are asked to come later", async || {
            let answer = load.senders.post(&url, &event).await.unwrap();
            answer.status() == 503 && answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().is_ok()
        })
        .await;
        // What was acknowledged before may still be on its way to its sender.
        eventually("what cannot be stored is not acknowledged", async || {
            let acknowledged = load.senders.acknowledged().len();
            let answer = load.senders.post(&url, &event).await.unwrap();
            assert_eq!(answer.status(), 503);
            load.senders.acknowledged().len() == acknowledged
        })
        .await;
        eventually("the database runs again", async || site.database.revive().unwrap()).await;
    }
    load.end(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_of_the_database_takes_back_was_not_acknowledged() {
    let (mut site, senders) = (Site::start().await, Arc::new(Senders::new()));
    let door = site.door().started().await;
    let url = door.url().unwrap();
    let [first, second] = [1, 2].map(|number| Sent::step("of nobody", number));
    assert_eq!(senders.post(&url, &first).await.unwrap().status(), 202);

    // All who could bring what is appended to the disk; only the superuser sees which they are.
    let superuser = site.database.options().username("postgres");
    let mut superuser = PgConnection::connect_with(&superuser).await.unwrap();
    let writers: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity where query like '%pg_logical_emit_message(true%' and pid <> pg_backend_pid()
             or backend_type in ('walwriter', 'background writer', 'checkpointer', 'autovacuum launcher')",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert!(
        writers.len() >= 5,
        "the connection that confirms is not among {writers:?}"
    );
    let signal = |signal| {
        writers
            .iter()
            .for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap())
    };
    signal(Signal::SIGSTOP);
    let answered = tokio::spawn({
        let (senders, url, second) = (Arc::clone(&senders), url.clone(), second.clone());
        async move { senders.post(&url, &second).await.unwrap().status() }
    });
    let stored = "select count(*) from rejoinder.event_log";
    eventually("workers can see it", async || site.number(stored).await == 2).await;
    kill(Pid::from_raw(site.postmaster()), Signal::SIGKILL).unwrap();
    signal(Signal::SIGKILL);
    assert_eq!(answered.await.unwrap(), 503);
    eventually("the database runs again", async || site.database.revive().unwrap()).await;
    assert_eq!(site.number(stored).await, 1, "the crash has taken it back");

    let again = async || senders.post(&url, &second).await.unwrap().status();
    eventually("it is stored when it comes again", async || again().await == 202).await;
    assert_eq!(site.number(stored).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_takes_back_after_a_worker_has_read_it_is_not_applied() {
    let (site, senders) = (Site::start().await, Senders::new());
    site.follow(&["entity".to_owned()]).await;
    let service = site.serve().started().await;
    let url = service.url().unwrap();
    let send = async |number| {
        senders
            .post(&url, &Sent::step("entity", number))
            .await
            .unwrap()
            .status()
    };
    assert_eq!(send(1).await, 202);
    site.drain().await;
    let held = Held::take(&site, "lock table rejoinder.event_cursors in share mode").await;
    assert_eq!(send(2).await, 202);
    let caught = held.caught(&site).await;
    // As if another event had been given its place since.
    site.run("update rejoinder.event_log set event_id = 'another' where event_id = 'entity/2'")
        .await;
    held.release(&site, &caught).await;
    site.drain().await;
    let told: Vec<String> = sqlx::query_scalar("select event_id from rejoinder.chat_messages order by position")
        .fetch_all(&site.pool)
        .await
        .unwrap();
    assert_eq!(told, ["entity/1", "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing() {
    let (site, load) = (Site::start().await, Load::new());
    let _processes = load.start(&site).await;
    for _ in 0..30 {
        load.goes_on().await;
        site.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rejoinder%'")
            .await;
    }
    load.end(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_is_full_loses_nothing_and_is_no_fault_of_the_events() {
    let (site, load) = (Site::start().await, Load::new());
    let processes = load.start(&site).await;
    site.run(
        "create function disk_full() returns trigger language plpgsql as $$ begin
             raise exception using errcode = '53100', message = 'no space is left for ' || tg_table_name;
         end $$",
    )
    .await;
    load.goes_on().await;
    for table in [
        "event_log",
        "event_cursors",
        "facts",
        "outbox",
        "event_outcomes",
        "chat_messages",
    ] {
        site.run(&format!(
            "create trigger disk_full before insert on rejoinder.{table} for each statement execute function disk_full()"
        ))
        .await;
        if table == "event_log" {
            let answer = load
                .senders
                .post(&processes[0].url().unwrap(), &Sent::step("of nobody", 1))
                .await;
            assert_eq!(answer.unwrap().status(), 503);
        }
        let refused = format!("no space is left for {table}");
        eventually(&refused, async || site.whole_log().contains(&refused)).await;
        site.run(&format!("drop trigger disk_full on rejoinder.{table}")).await;
        load.goes_on().await;
    }
    assert_eq!(site.number("select count(*) from rejoinder.parked_events").await, 0);
    load.end(&site).await;
}
