//! The run: storing, applying, delay, and turns beside it all.

use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::ensure;

use crate::apply::{Beside, apply};
use crate::backlog::Backlog;
use crate::delay;
use crate::figures::Figures;
use crate::pgbench;
use crate::place::Place;
use crate::shared::contestant::{Contestant, child, machine, this_program};
use crate::shared::load::Ask;
use crate::shared::progress::Progress;
use crate::shared::slice::{Series, Slice};

/// How much of everything.
struct Extent {
    rounds: usize,
    slice_s: u64,
    apply_rounds: usize,
    events: i64,
    backlog: i64,
    /// How many of those that wait are applied: as many as where none do, so that both take the same time.
    of_backlog: i64,
    delays: usize,
}

const FULL: Extent = Extent {
    rounds: 5,
    slice_s: 3,
    apply_rounds: 3,
    events: 100_000,
    backlog: 1_000_000,
    of_backlog: 100_000,
    delays: 200,
};

const QUICK: Extent = Extent {
    rounds: 2,
    slice_s: 1,
    apply_rounds: 1,
    events: 40_000,
    backlog: 200_000,
    of_backlog: 40_000,
    delays: 60,
};

/// Turns a second, and events a second beside them.
const TURNS: &str = "200";
const EVENTS: &str = "1000";

/// Measures all there is; tells on standard error how far it is.
pub(crate) fn measure(quick: bool, pg_bindir: Option<&Path>) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = Progress::new();
    progress.tell("starting PostgreSQL and the contestants");
    let mut run = Run {
        extent: if quick { QUICK } else { FULL },
        place: Place::make(pg_bindir)?,
        progress,
        runs: 0,
    };
    // Its migrations make the tables.
    let service = run.place.service(true, Ask::Balance)?;
    let mut backlog = runtime.block_on(Backlog::connect(&run.place.url))?;
    runtime.block_on(backlog.empty())?;
    let (turns, turns_beside_events) = run.turns(&service)?;
    run.progress.tell("delay at light load");
    run.runs += 1;
    let delays = delay::delays(service.address, &run.place.url, run.runs, run.extent.delays);
    let delays_ms = runtime.block_on(delays)?;
    service.stop()?;
    runtime.block_on(backlog.empty())?;
    let stored = run.store(pg_bindir)?;
    let [service_64, service_256, alone_64, alone_256, pgbench] = stored;
    let (mut plain, mut held, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let Extent {
        apply_rounds,
        events,
        backlog: backlog_events,
        of_backlog,
        ..
    } = run.extent;
    for round in 0..apply_rounds {
        let tell = |what| {
            run.progress
                .tell(&format!("applying, round {} of {apply_rounds}: {what}", round + 1))
        };
        tell("plain");
        plain.push(runtime.block_on(apply(&run.place, events, events, Beside::Nothing))?);
        tell("beside an open transaction");
        held.push(runtime.block_on(apply(&run.place, events, events, Beside::Transaction))?);
        tell("while many wait");
        waiting.push(runtime.block_on(apply(&run.place, backlog_events, of_backlog, Beside::Nothing))?);
    }
    run.progress.end();
    Ok(Figures {
        machine: machine(),
        service_64,
        service_256,
        alone_64,
        alone_256,
        pgbench,
        plain,
        held,
        waiting,
        backlog: run.extent.backlog,
        delays_ms,
        turns,
        turns_beside_events,
    })
}

struct Run {
    extent: Extent,
    place: Place,
    progress: Progress,
    /// How often there was load; tells the events of one from those of all others.
    runs: u16,
}

impl Run {
    fn store(&mut self, pg_bindir: Option<&Path>) -> anyhow::Result<[Series; 5]> {
        let service = self.place.service(false, Ask::Event)?;
        let alone = self.place.alone()?;
        let lanes = [(&service, "64"), (&service, "256"), (&alone, "64"), (&alone, "256")];
        for (server, _) in [lanes[0], lanes[2]] {
            self.progress.tell(&format!("warming up {}", server.name));
            self.load(server, &["--seconds", "1"])?;
        }
        let mut series = ["service, 64", "service, 256", "a, 64", "a, 256", "b, 64"].map(Series::new);
        let (rounds, slice_s) = (self.extent.rounds, self.extent.slice_s);
        for round in 0..rounds {
            // Forth and back, so that what drifts hits all alike.
            let mut order: Vec<usize> = (0..series.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let name = series[at].name;
                self.progress
                    .tell(&format!("storing, round {} of {rounds}: {name}", round + 1));
                let slice = match lanes.get(at) {
                    Some((server, connections)) => {
                        let extent = ["--seconds", &slice_s.to_string(), "--connections", connections];
                        self.load(server, &extent)?
                    }
                    None => pgbench::insert(&self.place.dir, pg_bindir, &self.place.url, slice_s)?,
                };
                series[at].slices.push(slice);
            }
        }
        Ok(series)
    }

    /// Turns at a steady rate, without and with events beside them.
    fn turns(&mut self, service: &Contestant) -> anyhow::Result<(Series, Series)> {
        let (mut without, mut with) = (Series::new("turns"), Series::new("beside events"));
        self.load(service, &["--seconds", "1"])?;
        let (rounds, slice_s) = (self.extent.rounds, self.extent.slice_s.to_string());
        let extent = ["--rate", TURNS, "--connections", "16", "--seconds", &slice_s];
        for round in 0..rounds {
            self.progress.tell(&format!("turns, round {} of {rounds}", round + 1));
            without.slices.push(self.load(service, &extent)?);
            let events = self.pour(service)?;
            with.slices.push(self.load(service, &extent)?);
            events.end()?;
        }
        Ok((without, with))
    }

    /// Loads one contestant from one more process.
    fn load(&mut self, server: &Contestant, extent: &[&str]) -> anyhow::Result<Slice> {
        self.runs += 1;
        let (address, run) = (server.address.to_string(), self.runs.to_string());
        let before = server.cpu_s();
        let mut slice = child(&[&["load", &address, server.ask.name(), &run], extent].concat())?;
        if let (Some(before), Some(after)) = (before, server.cpu_s()) {
            slice.server_cpu_s = after - before;
        }
        Ok(slice)
    }

    /// Events at a steady rate until told.
    fn pour(&mut self, server: &Contestant) -> anyhow::Result<Pouring> {
        self.runs += 1;
        let child = this_program()?
            .args([
                "load",
                &server.address.to_string(),
                Ask::Event.name(),
                &self.runs.to_string(),
            ])
            .args(["--rate", EVENTS])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Pouring(child))
    }
}

/// A load that lasts; dropping it ends it.
struct Pouring(Child);

impl Pouring {
    /// # Errors
    /// When it has ended before, because an event was not taken.
    fn end(mut self) -> anyhow::Result<()> {
        let ended = self.0.try_wait()?;
        ensure!(ended.is_none(), "the load of events has ended by itself");
        Ok(())
    }
}

impl Drop for Pouring {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
