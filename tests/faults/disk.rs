//! A disk that fills up to the last byte: senders are asked to come later, turns are answered, and all goes on with room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::load::Load;
use crate::sender::Sent;
use crate::site::{Site, eventually};
use crate::turns::Users;

/// Enough for the database and what the test writes.
const MIB: u32 = 256;

/// How long it stays full.
const FULL: Duration = Duration::from_secs(9);

/// Within which it is full again when the database has freed something.
const REFILL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_without_a_byte_left_loses_nothing_and_holds_no_turn_up() {
    let Some(mut site) = Site::start_on_a_disk(MIB).await else {
        return;
    };
    let load = Load::new();
    let processes = load.start(&site).await;
    let url = processes[0].url().unwrap();
    let users = Users::of(&site, &url).await;
    load.goes_on().await;
    let disk = site.disk.as_ref().unwrap();
    let event = Sent::step("of nobody", 1);
    eventually("senders are asked to come later", async || {
        disk.fill();
        load.senders.post(&url, &event).await.unwrap().status() == 503
    })
    .await;
    let (acknowledged, refused) = (load.senders.acknowledged().len(), load.refused());
    let answers = tokio::select! {
        answers = users.ask(FULL) => answers,
        () = disk.stay_full() => unreachable!("it has no end"),
    };
    println!(
        "while the disk was full: {answers}; {} events refused, {} acknowledged; PostgreSQL ended {} times",
        load.refused() - refused,
        load.senders.acknowledged().len() - acknowledged,
        disk.panics(),
    );
    disk.empty();
    eventually("the database takes events again", async || {
        site.database.revive().unwrap();
        load.senders.post(&url, &event).await.unwrap().status().is_success()
    })
    .await;
    load.goes_on().await;
    answers.were_in_time();
    load.end(&site).await;
}

/// A small disk of its own, unmounted when dropped.
pub(crate) struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB; none where that is refused, which is told.
    pub(crate) fn mount(place: &Path, mib: u32) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let options = format!("size={mib}m,mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place)
            .output();
        let why = match mounted {
            Ok(Output { status, .. }) if status.success() => {
                return Some(Self {
                    place: place.to_owned(),
                });
            }
            Ok(Output { stderr, .. }) => String::from_utf8_lossy(&stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // Not by `eprintln!`, which is kept back where the test passes.
        let mut told = io::stderr();
        writeln!(
            told,
            "SKIPPED: a full disk, since none can be mounted (root may): {why}"
        )
        .unwrap();
        None
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let bytes = vec![0; size];
            while ballast.write_all(&bytes).is_ok() {}
        }
    }

    /// Leaves none, without end.
    async fn stay_full(&self) {
        loop {
            self.fill();
            tokio::time::sleep(REFILL).await;
        }
    }

    /// Has room again.
    fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }

    /// How often the database has ended all of its processes.
    fn panics(&self) -> usize {
        let log = fs::read(self.place.join("postgres.log")).unwrap();
        String::from_utf8_lossy(&log).matches("PANIC").count()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmount = |arguments: &[&str]| {
            let unmounted = Command::new("umount").args(arguments).arg(&self.place).status();
            unmounted.is_ok_and(|status| status.success())
        };
        if !unmount(&[]) {
            unmount(&["--lazy"]);
        }
    }
}
