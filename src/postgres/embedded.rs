//! The private PostgreSQL that serves while no `DATABASE_URL` is set, run from the system's own binaries, or from
//! fetched ones.
//!
//! Everything lives in `<data dir>/postgres`: `cluster/` (the data), `run/` (the socket, the only way in),
//! `postgres.log` and `lock`. Settings that matter are given on the command line, so neither
//! `postgresql.conf` nor `ALTER SYSTEM` can turn durability off.

mod account;
mod archive;
mod binaries;
mod error;
mod fetched;
mod home;
mod postmaster;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

pub use self::error::EmbeddedError;
use self::error::at;
use self::home::Home;
use self::postmaster::Postmaster;
use crate::config::ProgramSettings;

/// The role that serves: whoever speaks SQL as it reaches neither files nor programs of the server's account.
const USER: &str = "rejoinder";
const SUPERUSER: &str = "postgres";
const DATABASE: &str = "postgres";

/// What a new cluster is told before its first start. It may make databases of its own, as tests do.
const ROLES: [&str; 2] = [
    "create role rejoinder login createdb",
    "alter database postgres owner to rejoinder",
];

/// How long recovery after a crash may take.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// The log is set aside at a start that finds it larger, in bytes.
const LOG_SIZE: u64 = 8 << 20;

/// Given as `-c NAME=VALUE`, which nothing in the cluster overrides.
const SETTINGS: [&str; 12] = [
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_connections=100",
    "shared_buffers=32MB",
    "jit=off",
    "timezone=UTC",
    "logging_collector=off",
    "log_destination=stderr",
];

/// A running private server; dropping it stops it.
#[derive(Debug)]
pub struct Embedded {
    home: Home,
    bindir: PathBuf,
    first_start: bool,
    postmaster: Postmaster,
    /// Last, so that the directory is free only once the server is down.
    _lock: File,
}

impl Embedded {
    /// Starts the server of `data_dir`, creating the cluster when there is none, and returns when it takes
    /// connections. Blocks: about a second the first time, a tenth of that afterwards, at most a minute
    /// when it recovers from a crash; longer where PostgreSQL is fetched.
    ///
    /// `programs` says where `initdb` and `postgres` come from. As root the server runs as
    /// `postgres`, `_postgres` or `nobody`; where that account cannot reach `data_dir`, the cluster is in
    /// `/var/lib/rejoinder` and `<data_dir>/postgres` is a symbolic link to it.
    ///
    /// However this process ends, the server ends with it: on Linux at once, elsewhere the next start ends
    /// the one that was left behind.
    pub fn start(data_dir: &Path, programs: &ProgramSettings) -> Result<Self, EmbeddedError> {
        let home = Home::open(data_dir)?;
        let lock = home.lock()?;
        let made_by = home.major();
        let bindir = binaries::find(programs, &home)?;
        if made_by.is_none() {
            create_cluster(&home, &bindir)?;
        }
        let postmaster = launch(&home, &bindir)?;
        Ok(Self {
            first_start: made_by.is_none(),
            home,
            bindir,
            postmaster,
            _lock: lock,
        })
    }

    /// Where to connect to the server of `data_dir` that another process runs; `None` when none does.
    pub fn running(data_dir: &Path) -> Option<PgConnectOptions> {
        let sockets = data_dir.join("postgres/run").canonicalize().ok()?;
        sockets.join(".s.PGSQL.5432").exists().then(|| options(&sockets))
    }

    /// Starts the server again when it has ended by itself; true when it had. Blocks as [`start`](Self::start).
    pub fn revive(&mut self) -> Result<bool, EmbeddedError> {
        if !self.postmaster.is_gone() {
            return Ok(false);
        }
        self.postmaster = launch(&self.home, &self.bindir)?;
        Ok(true)
    }

    /// Where to connect; independent of the `PG…` environment variables that name a server.
    pub fn options(&self) -> PgConnectOptions {
        options(self.home.sockets())
    }

    /// The same as a URL, which `psql` takes too.
    pub fn url(&self) -> String {
        format!(
            "postgres:///{DATABASE}?host={}&user={USER}",
            percent_encoded(self.home.sockets())
        )
    }

    /// Whether this start created the cluster.
    pub fn first_start(&self) -> bool {
        self.first_start
    }

    /// Ends every session and the server; nothing when it is already down. Blocks for at most 17 seconds,
    /// usually a few hundredths of one.
    pub fn stop(&mut self) {
        self.postmaster.stop();
    }
}

fn options(sockets: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(sockets)
        .port(5432)
        .username(USER)
        .database(DATABASE)
        .ssl_mode(PgSslMode::Disable)
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the server of a cluster, and waits until it takes connections.
fn launch(home: &Home, bindir: &Path) -> Result<Postmaster, EmbeddedError> {
    let sockets = home.make_socket_dir()?;
    postmaster::make_way(&home.cluster(), sockets)?;

    let (log, log_start) = open_log(home)?;
    let program = bindir.join("postgres");
    let mut command = home.account().command(&program);
    command.arg("-D").arg(home.cluster()).arg("-k").arg(sockets);
    command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
    command
        .stdout(log.try_clone().map_err(at("open", &home.log()))?)
        .stderr(log);
    let postmaster = Postmaster::spawn(command).map_err(at("run", &program))?;

    let end = Instant::now() + START;
    while !postmaster.is_ready(&home.cluster()) {
        let log = home.log();
        if postmaster.is_gone() {
            return Err(EmbeddedError::Ended {
                tail: tail(&log, log_start),
                log,
            });
        }
        if Instant::now() > end {
            postmaster.stop();
            return Err(EmbeddedError::NotReady {
                seconds: START.as_secs(),
                tail: tail(&log, log_start),
                log,
            });
        }
        std::thread::sleep(POLL);
    }
    Ok(postmaster)
}

/// Under another name until it is whole and on disk, so that an `initdb` cut short never looks like a cluster.
fn create_cluster(home: &Home, bindir: &Path) -> Result<(), EmbeddedError> {
    let (cluster, unfinished) = (home.cluster(), home.cluster().with_extension("new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(at("remove", &unfinished))?;
    }
    home.account().make_private_dir(&unfinished)?;
    let initdb = bindir.join("initdb");
    let mut command = home.account().command(&initdb);
    command.arg("-D").arg(&unfinished).args(["-U", SUPERUSER, "-E", "UTF8"]);
    command
        .args(["--locale=C", "--auth=trust", "--data-checksums"])
        .stdout(Stdio::null());
    let output = command.output().map_err(at("run", &initdb))?;
    if !output.status.success() {
        return Err(EmbeddedError::Initdb {
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    create_roles(home, bindir, &unfinished)?;
    fs::rename(&unfinished, &cluster).map_err(at("create", &cluster))?;
    File::open(home.dir())
        .and_then(|dir| dir.sync_all())
        .map_err(at("write", home.dir()))
}

/// Runs [`ROLES`] in a cluster that nobody serves, one statement a line.
fn create_roles(home: &Home, bindir: &Path, cluster: &Path) -> Result<(), EmbeddedError> {
    let postgres = bindir.join("postgres");
    let mut command = home.account().command(&postgres);
    command
        .args(["--single", "-c", "exit_on_error=on", "-D"])
        .arg(cluster)
        .arg(DATABASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let run = at("run", &postgres);
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "{}", ROLES.join("\n"))?;
        }
        child.wait_with_output()
    });
    let output = output.map_err(run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Initdb {
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The log, open at its end, and how long it is.
fn open_log(home: &Home) -> Result<(File, u64), EmbeddedError> {
    let path = home.log();
    if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_SIZE) {
        fs::rename(&path, path.with_extension("log.old")).map_err(at("rename", &path))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(at("open", &path))?;
    let length = log.metadata().map_err(at("read", &path))?.len();
    Ok((log, length))
}

/// The last few lines logged after the first `from` bytes; empty when the log cannot be read.
fn tail(log: &Path, from: u64) -> String {
    let log = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).map_or(log.len(), |from| from.min(log.len()));
    let text = String::from_utf8_lossy(&log[from..]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

fn percent_encoded(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
