//! Applying what waits in the log: `rejoinder work`, and nothing else.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::backlog::Backlog;
use crate::place::Place;
use crate::shared::contestant::memory_mb;

/// How long any of it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// One worker's go at the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied {
    /// Events a second.
    pub(crate) rate: f64,
    /// Resident memory at most, in MB; `None` where the system does not say.
    pub(crate) peak_mb: Option<f64>,
}

/// Under what circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// None.
    Nothing,
    /// Another session holds a transaction open.
    Transaction,
}

/// Fills the log with `events`, lets a worker apply `until` of them at least, and says how fast it was.
pub(crate) async fn apply(place: &Place, events: i64, until: i64, beside: Beside) -> anyhow::Result<Applied> {
    let mut backlog = Backlog::connect(&place.url).await?;
    backlog.empty().await?;
    backlog.fill(events).await?;
    let mut holder = Backlog::connect(&place.url).await?;
    if beside == Beside::Transaction {
        holder.hold().await?;
    }
    let log = place.dir.join("work.log");
    let child = place
        .program()
        .arg("work")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .context("cannot start the worker")?;
    let mut worker = Worker(child);
    let started = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (applied, rate) = backlog.applied().await?;
        if applied >= until {
            let peak_mb = memory_mb(worker.0.id(), "VmHWM:");
            return Ok(Applied { rate, peak_mb });
        }
        if worker.0.try_wait()?.is_some() || started.elapsed() > LIMIT {
            let log = fs::read_to_string(&log).unwrap_or_default();
            bail!("the worker has applied {applied} of {until} events\n{log}");
        }
    }
}

/// Dropping it ends it.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
