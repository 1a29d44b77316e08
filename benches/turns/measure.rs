//! The run: starts the contestants, gives each its slices round by round, and watches memory and starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rejoinder::postgres::embedded::Embedded;

use crate::figures::{Figures, Memory};
use crate::shared::contestant::{Contestant, Place, child, default_settings, machine, memory_mb, this_program};
use crate::shared::load::{Ask, CONNECTIONS};
use crate::shared::progress::Progress;
use crate::shared::slice::{Series, Slice};
use crate::shared::{empty_dir, programs};

/// How much of everything.
struct Extent {
    rounds: usize,
    warm_up_s: f64,
    slice_s: f64,
    early_turns: u64,
    late_turns: u64,
    starts: usize,
}

const FULL: Extent = Extent {
    rounds: 7,
    warm_up_s: 2.0,
    slice_s: 2.5,
    early_turns: 200_000,
    late_turns: 1_000_000,
    starts: 5,
};

const QUICK: Extent = Extent {
    rounds: 3,
    warm_up_s: 1.0,
    slice_s: 1.0,
    early_turns: 50_000,
    late_turns: 200_000,
    starts: 3,
};

/// Measures all there is; tells on standard error how far it is.
pub(crate) fn measure(quick: bool, pg_bindir: Option<&Path>) -> anyhow::Result<Figures> {
    let extent = if quick { QUICK } else { FULL };
    let mut run = Run {
        data_dir: empty_dir("turns/data")?,
        // What npm has installed stays.
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("turns"),
        extent,
        progress: Progress::new(),
        runs: 0,
    };
    run.progress.tell("starting PostgreSQL and the contestants");
    let postgres = Embedded::start(&run.data_dir, &programs(pg_bindir))?;
    let url = postgres.url();
    let noop = run.noop("b", &url)?;
    let bare = run.bare(&noop.answer)?;
    ensure!(
        bare.answer == noop.answer,
        "a and b differ: {} {}",
        bare.answer,
        noop.answer
    );
    let cached = run.demo("c", &url, 60)?;
    let queried = run.demo("d", &url, 0)?;
    let node = run.node();
    let servers: Vec<&Contestant> = [&bare, &noop, &cached, &queried].into_iter().chain(&node).collect();
    for server in &servers {
        run.progress.tell(&format!("warming up {}", server.name));
        let warm_up_s = run.extent.warm_up_s;
        run.load(server, &["--seconds", &warm_up_s.to_string()])?;
    }
    let mut series = servers
        .iter()
        .map(|server| Series::new(server.name))
        .collect::<Vec<_>>();
    let mut pool = Series::new("pool");
    for round in 0..run.extent.rounds {
        // Forth and back, so that what drifts hits all alike.
        let mut order: Vec<usize> = (0..=servers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let (server, name) = (servers.get(at), servers.get(at).map_or("pool", |server| server.name));
            run.progress
                .tell(&format!("round {} of {}: {name}", round + 1, run.extent.rounds));
            let slice_s = run.extent.slice_s.to_string();
            match server {
                Some(server) => series[at].slices.push(run.load(server, &["--seconds", &slice_s])?),
                None => pool.slices.push(child(&["pool", &url, &slice_s])?),
            }
        }
    }
    drop((bare, noop, cached, queried, node));
    let memory = run.memory(&url)?;
    drop(postgres);
    let starts_ms = run.starts()?;
    run.progress.end();
    let mut series = series.into_iter();
    let mut next = || series.next().context("a contestant has no figures");
    Ok(Figures {
        machine: format!("{}, {CONNECTIONS} connections", machine()),
        bare: next()?,
        noop: next()?,
        cached: next()?,
        queried: next()?,
        node: next().ok(),
        pool,
        memory,
        starts_ms,
    })
}

struct Run {
    /// For logs, data and packages.
    dir: PathBuf,
    data_dir: PathBuf,
    extent: Extent,
    progress: Progress,
    /// How often there was load; tells the turns of one from those of all others.
    runs: u16,
}

impl Run {
    fn bare(&self, reply: &str) -> anyhow::Result<Contestant> {
        let place = Place::new(&self.dir, "a")?;
        let mut command = this_program()?;
        command.arg("bare").arg(place.address.to_string()).arg(reply);
        Contestant::start("a", &mut command, &place, Ask::Noop)
    }

    fn noop(&self, name: &'static str, url: &str) -> anyhow::Result<Contestant> {
        let place = Place::new(&self.dir, name)?;
        let mut command = this_program()?;
        let command = default_settings(command.arg("serve"));
        command
            .env("LISTEN", place.address.to_string())
            .env("SHUTDOWN_DELAY_S", "0")
            .env("DATABASE_URL", url);
        Contestant::start(name, command, &place, Ask::Noop)
    }

    fn demo(&self, name: &'static str, url: &str, cache_s: u64) -> anyhow::Result<Contestant> {
        let place = Place::new(&self.dir, name)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoinder"));
        let command = default_settings(&mut command);
        command
            .env("LISTEN", place.address.to_string())
            .env("SHUTDOWN_DELAY_S", "0")
            .env("DATABASE_URL", url)
            .env("DEMO_DATA", "true")
            .env("BALANCE_CACHE_S", cache_s.to_string());
        Contestant::start(name, command, &place, Ask::Balance)
    }

    /// `None`, and says why, where it cannot be had.
    fn node(&self) -> Option<Contestant> {
        let started = self.node_packages().and_then(|dir| {
            let place = Place::new(&self.dir, "e")?;
            let mut command = Command::new("node");
            command
                .current_dir(dir)
                .env("NODE_ENV", "production")
                .arg("server.js")
                .arg(place.address.port().to_string());
            Contestant::start("e", &mut command, &place, Ask::Noop)
        });
        match started {
            Ok(node) => Some(node),
            Err(error) => {
                self.progress.end();
                eprintln!("e is left out: {error:#}");
                None
            }
        }
    }

    fn node_packages(&self) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join("node");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("server.js"), include_str!("node/server.js"))?;
        let package = include_str!("node/package.json");
        let installed = dir.join("node_modules/.installed");
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == package) {
            return Ok(dir);
        }
        fs::write(dir.join("package.json"), package)?;
        self.progress.tell("installing the Node packages");
        let npm = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .output()
            .context("npm cannot be run")?;
        ensure!(
            npm.status.success(),
            "npm install: {}",
            String::from_utf8_lossy(&npm.stderr)
        );
        fs::write(installed, package)?;
        Ok(dir)
    }

    /// Loads one contestant from one more process.
    fn load(&mut self, server: &Contestant, extent: &[&str]) -> anyhow::Result<Slice> {
        self.runs += 1;
        let (address, run) = (server.address.to_string(), self.runs.to_string());
        let before = server.cpu_s();
        let mut slice = child(&[&["load", &address, server.ask.name(), &run], extent].concat())
            .with_context(|| format!("contestant {}", server.name))?;
        if let (Some(before), Some(after)) = (before, server.cpu_s()) {
            slice.server_cpu_s = after - before;
        }
        Ok(slice)
    }

    /// Resident memory of services that have done nothing before.
    fn memory(&mut self, url: &str) -> anyhow::Result<Vec<Memory>> {
        let mut memory = Vec::new();
        for server in [self.noop("b", url)?, self.demo("c", url, 60)?] {
            let (early_turns, late_turns) = (self.extent.early_turns, self.extent.late_turns);
            self.progress
                .tell(&format!("memory of {}: to {early_turns} turns", server.name));
            self.load(&server, &["--turns", &early_turns.to_string()])?;
            let early = memory_mb(server.process(), "VmRSS:");
            self.progress
                .tell(&format!("memory of {}: to {late_turns} turns", server.name));
            self.load(&server, &["--turns", &(late_turns - early_turns).to_string()])?;
            if let (Some(early_mb), Some(late_mb)) = (early, memory_mb(server.process(), "VmRSS:")) {
                memory.push(Memory {
                    name: server.name,
                    early_turns,
                    early_mb,
                    late_turns,
                    late_mb,
                });
            }
            server.stop()?;
        }
        Ok(memory)
    }

    /// Starts of the demo bot with its own PostgreSQL, on data that are there already.
    fn starts(&self) -> anyhow::Result<Vec<f64>> {
        let mut starts_ms = Vec::new();
        for start in 0..self.extent.starts {
            self.progress
                .tell(&format!("start {} of {}", start + 1, self.extent.starts));
            let place = Place::new(&self.dir, "start")?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_rejoinder"));
            let command = default_settings(&mut command);
            command
                .env("LISTEN", place.address.to_string())
                .env("SHUTDOWN_DELAY_S", "0")
                .env("DATA_DIR", &self.data_dir);
            let started = Contestant::start("start", command, &place, Ask::Balance)?;
            starts_ms.push(started.started_in.as_secs_f64() * 1_000.0);
            started.stop()?;
        }
        Ok(starts_ms)
    }
}
