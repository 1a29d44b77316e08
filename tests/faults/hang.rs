//! A database that hangs: its processes are there and do nothing.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::Load;
use crate::site::Site;
use crate::turns::Users;

/// How long it hangs in the suite: longer than an answer may take.
const HANG: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_that_hangs_loses_nothing_and_turns_are_answered_in_time() {
    hang(Frozen::all, HANG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_that_takes_no_new_connection_loses_nothing_and_turns_are_answered_in_time() {
    hang(Frozen::postmaster, HANG).await;
}

/// `cargo test --test faults hang:: -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn database_that_hangs_for_longer_than_silence_is_borne_loses_nothing() {
    hang(Frozen::all, Duration::from_secs(60)).await;
    hang(Frozen::postmaster, Duration::from_secs(60)).await;
}

async fn hang(freeze: impl AsyncFn(&Site) -> Frozen, during: Duration) {
    let (site, load) = (Site::start().await, Load::new());
    let processes = load.start(&site).await;
    let url = processes[0].url().unwrap();
    let users = Users::of(&site, &url).await;
    load.goes_on().await;
    let (acknowledged, refused) = (load.senders.acknowledged().len(), load.refused());
    let frozen = freeze(&site).await;
    let answers = users.ask(during).await;
    println!(
        "{} processes hung: {answers}; {} events acknowledged, {} refused",
        frozen.0.len(),
        load.senders.acknowledged().len() - acknowledged,
        load.refused() - refused,
    );
    drop(frozen);
    load.goes_on().await;
    answers.were_in_time();
    load.end(&site).await;
}

/// Processes of the database that are stopped; they go on when dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    /// The one that starts the others, after their connections were cut: nobody has one, and nobody gets one.
    async fn postmaster(site: &Site) -> Self {
        let mut frozen = Self(Vec::new());
        frozen.stop(site.postmaster());
        site.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rejoinder%'")
            .await;
        frozen
    }

    /// All of them.
    async fn all(site: &Site) -> Self {
        let mut frozen = Self(Vec::new());
        // First, so that there are no new ones.
        frozen.stop(site.postmaster());
        let others: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity")
            .fetch_all(&site.pool)
            .await
            .unwrap();
        others.into_iter().for_each(|pid| frozen.stop(pid));
        frozen
    }

    fn stop(&mut self, pid: i32) {
        let pid = Pid::from_raw(pid);
        self.0.push(pid);
        kill(pid, Signal::SIGSTOP).unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill(*pid, Signal::SIGCONT).ok();
        }
    }
}
