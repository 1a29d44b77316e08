//! The database goes away, drops its connections or refuses to write, while events come in and are applied.

use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinSet;

use crate::claims;
use crate::process::Process;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};

const ENTITIES: usize = 6;

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
        let acknowledged = load.senders.acknowledged().len();
        let answer = load.senders.post(&url, &event).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(
            load.senders.acknowledged().len(),
            acknowledged,
            "what cannot be stored is not acknowledged"
        );
        eventually("the database runs again", async || site.database.revive().unwrap()).await;
    }
    load.end(&site).await;
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
            "create trigger disk_full before insert on {table} for each statement execute function disk_full()"
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
        site.run(&format!("drop trigger disk_full on {table}")).await;
        load.goes_on().await;
    }
    assert_eq!(site.number("select count(*) from parked_events").await, 0);
    load.end(&site).await;
}

/// Senders that send until the end.
struct Load {
    senders: Arc<Senders>,
    sending: std::sync::Mutex<JoinSet<()>>,
}

impl Load {
    fn new() -> Self {
        Self {
            senders: Arc::new(Senders::new()),
            sending: std::sync::Mutex::default(),
        }
    }

    /// Starts a service and a worker, and sends to it.
    async fn start(&self, site: &Site) -> [Process; 2] {
        let processes = [site.serve().started().await, site.work().started().await];
        self.senders.aim(processes[0].url());
        let entities: Vec<String> = (0..ENTITIES).map(|entity| format!("entity {entity}")).collect();
        site.follow(&entities).await;
        let mut sending = self.sending.lock().unwrap();
        for entity in entities {
            let senders = Arc::clone(&self.senders);
            sending.spawn(async move { senders.step_on(&entity, 30).await });
        }
        let senders = Arc::clone(&self.senders);
        sending.spawn(async move { senders.order_on("order", 30).await });
        processes
    }

    /// Waits until more was acknowledged.
    async fn goes_on(&self) {
        let wanted = self.senders.acknowledged().len() + 20;
        eventually("events are acknowledged", async || {
            self.senders.acknowledged().len() >= wanted
        })
        .await;
    }

    /// Ends, and checks what became of all that was sent.
    async fn end(self, site: &Site) {
        self.senders.end();
        self.sending.into_inner().unwrap().join_all().await;
        claims::hold(site, &self.senders).await;
    }
}
