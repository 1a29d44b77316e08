//! The server process: starting it, knowing when it is ready, ending it, and clearing up after one that died.
//!
//! PostgreSQL's own lock file stops it from starting beside a server that may still run. It is too careful where
//! the process id in it was given to another process, or belongs to a zombie that nobody reaps, as is usual in a
//! container. Here it is known that no other instance runs, so the file can be judged better.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::EmbeddedError;

const POLL: Duration = Duration::from_millis(5);
/// Fast shutdown, immediate shutdown, the end; with the seconds that each may take.
const ENDINGS: [(Signal, u64); 3] = [(Signal::SIGINT, 10), (Signal::SIGQUIT, 5), (Signal::SIGKILL, 2)];
/// How long the other processes of a server that died may take to notice.
const ORPHANS: Duration = Duration::from_secs(15);

/// The main process of the server that we started.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Pid,
    thread: JoinHandle<Option<ExitStatus>>,
}

impl Postmaster {
    /// Runs `command` from a thread that lives as long as the server does: the parent-death signal is sent when
    /// that *thread* ends, so it may not be one that comes and goes.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("postmaster".to_owned()).spawn(move || {
            let (spawned, child) = match command.spawn() {
                Ok(child) => (Ok(child.id()), Some(child)),
                Err(error) => (Err(error), None),
            };
            sender.send(spawned).ok()?;
            child?.wait().ok()
        })?;
        let id = receiver.recv().map_err(io::Error::other)??;
        let pid = Pid::from_raw(i32::try_from(id).map_err(io::Error::other)?);
        Ok(Self { pid, thread })
    }

    /// Whether it takes connections.
    pub(super) fn is_ready(&self, cluster: &Path) -> bool {
        LockFile::read(cluster).is_some_and(|lock| lock.pid == self.pid && lock.ready)
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it; nothing when it is gone.
    pub(super) fn stop(&self) {
        end(self.pid, || self.is_gone());
    }
}

/// Ends a server that an earlier process left behind in `cluster`, and removes the lock files of one that died.
///
/// To be called by the holder of the directory only.
pub(super) fn make_way(cluster: &Path, sockets: &Path) -> Result<(), EmbeddedError> {
    if let Some(lock) = LockFile::read(cluster) {
        end(lock.pid, || !serves(lock.pid, cluster));
        // The lock file is what makes a new server look for processes of the old one, so they must be gone first.
        if !holds_within(ORPHANS, || !lock.segment.is_some_and(Segment::is_attached)) {
            return Err(EmbeddedError::StillUsed {
                cluster: cluster.to_owned(),
            });
        }
        let refused = kill(lock.pid, None).is_ok();
        if !cfg!(target_os = "linux") && !refused {
            return Ok(()); // segments cannot be looked at here: leave it to the server, which can
        }
    }
    let stale = [
        cluster.join("postmaster.pid"),
        sockets.join(".s.PGSQL.5432"),
        sockets.join(".s.PGSQL.5432.lock"),
    ];
    for file in stale {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(super::error::at("remove", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn end(pid: Pid, gone: impl Fn() -> bool) {
    for (signal, seconds) in ENDINGS {
        if gone() {
            return;
        }
        // It may end by itself just now, which is what is wanted.
        kill(pid, signal).ok();
        holds_within(Duration::from_secs(seconds), &gone);
    }
}

fn holds_within(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Whether `pid` is a living server of `cluster`, by its command line: that is empty for a zombie, and, unlike
/// its working directory, open to a container's root, who lacks the right to trace.
#[cfg(target_os = "linux")]
fn serves(pid: Pid, cluster: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|argument| argument == cluster.as_os_str().as_encoded_bytes())
}

#[cfg(not(target_os = "linux"))]
fn serves(pid: Pid, cluster: &Path) -> bool {
    let listed = Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(&*cluster.to_string_lossy()))
}

/// What `postmaster.pid` says: a line each for the process id, data directory, start, port, socket directory,
/// address, shared memory (key and id) and state.
struct LockFile {
    pid: Pid,
    segment: Option<Segment>,
    ready: bool,
}

impl LockFile {
    /// `None` when there is no such file or it is not whole.
    fn read(cluster: &Path) -> Option<Self> {
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = lines.first()?.parse().ok().filter(|pid| *pid > 1)?;
        let segment = lines.get(6).and_then(|line| Segment::parse(line));
        Some(Self {
            pid: Pid::from_raw(pid),
            segment,
            ready: lines.get(7) == Some(&"ready"),
        })
    }
}

/// The System V shared memory to which each process of a server is attached while it lives.
#[derive(Clone, Copy)]
struct Segment {
    /// Written with a sign by the kernel and without by PostgreSQL; the low 32 bits are the same.
    key: i64,
    id: i64,
}

impl Segment {
    fn parse(line: &str) -> Option<Self> {
        let (key, id) = line.split_once(char::is_whitespace)?;
        Some(Self {
            key: low_bits(key)?,
            id: id.trim().parse().ok()?,
        })
    }

    /// Whether a process is; false when the system does not tell.
    fn is_attached(self) -> bool {
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        segments.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [key, id, _mode, _size, _creator, _last, attached, ..] = fields[..] else {
                return false;
            };
            low_bits(key) == Some(self.key) && id.parse() == Ok(self.id) && attached != "0"
        })
    }
}

fn low_bits(number: &str) -> Option<i64> {
    let wide: i128 = number.parse().ok()?;
    i64::try_from(wide & 0xffff_ffff).ok()
}
