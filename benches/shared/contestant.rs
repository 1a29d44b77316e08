//! A contestant: a server in a process of its own, and what the system says of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::load::{self, Ask};
use super::slice::Slice;

/// How long a contestant may take to answer its first turn.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server; dropping it ends it.
pub(crate) struct Contestant {
    child: Child,
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) ask: Ask,
    /// What it answered first.
    pub(crate) answer: String,
    /// From its start to that answer.
    pub(crate) started_in: Duration,
}

/// Where a contestant is to listen, and what it writes goes.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Place {
    /// A free port, and a log in `dir`.
    pub(crate) fn new(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            address: free.local_addr()?,
            log: dir.join(format!("{name}.log")),
        })
    }
}

impl Contestant {
    /// Starts `command` and waits for its answer to a first turn.
    pub(crate) fn start(name: &'static str, command: &mut Command, place: &Place, ask: Ask) -> anyhow::Result<Self> {
        let log = File::create(&place.log).with_context(|| format!("cannot write {}", place.log.display()))?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut contestant = Self {
            child,
            name,
            address: place.address,
            ask,
            answer: String::new(),
            started_in: Duration::ZERO,
        };
        loop {
            let ended = contestant.child.try_wait()?.is_some();
            match load::once(place.address, ask, 0) {
                Ok(answer) => {
                    contestant.answer = answer;
                    contestant.started_in = started.elapsed();
                    return Ok(contestant);
                }
                Err(error) if ended || started.elapsed() > START_LIMIT => {
                    let log = fs::read_to_string(&place.log).unwrap_or_default();
                    bail!("{name} does not answer: {error:#}\n{log}");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Its process's id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it has taken, in seconds.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        cpu_s(self.process())
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Processor time of a process, in seconds; `None` where the system does not say.
pub(crate) fn cpu_s(process: u32) -> Option<f64> {
    /// Linux counts in these for user space on every architecture.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The command's name, in brackets, may hold spaces.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_A_SECOND)
}

/// Memory of a process, in MB, by its name in the system's list: `VmRSS:` now, `VmHWM:` at most so far; `None` where the
/// system does not say.
pub(crate) fn memory_mb(process: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = kib.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}

pub(crate) fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(
        std::env::current_exe().context("the bench cannot find itself")?,
    ))
}

/// Whatever is set where the bench runs, also in a `.env` file: the contestants have the defaults.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH and the places of PostgreSQL's programs are the machine's"
)]
pub(crate) fn default_settings(command: &mut Command) -> &mut Command {
    let machine =
        ["PATH", "PG_BINDIR", "HOME", "XDG_CACHE_HOME"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
    command
        .env_clear()
        .envs(machine)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a part of this program to its end, and reads the slice that it prints.
pub(crate) fn child(args: &[&str]) -> anyhow::Result<Slice> {
    let output = this_program()?
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{} failed", args[0]);
    let printed: Value = serde_json::from_slice(&output.stdout).context("the child printed something else")?;
    Ok(Slice::from_json(&printed))
}

/// What all of it runs on.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{cores} cores, {model}")
}
