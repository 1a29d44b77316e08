//! Where the private PostgreSQL lives: `<data dir>/postgres`, or a place its account can reach.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::{EmbeddedError, at};

/// For clusters whose data directory the server's account cannot reach.
const ELSEWHERE: &str = "/var/lib/rejoinder";
/// The longest path of a socket, in bytes, on the system that allows least (macOS: 104 with the final NUL).
const SOCKET_PATH: usize = 103;
/// How long a predecessor that is shutting down may keep the directory.
const PATIENCE: Duration = Duration::from_secs(2);

/// The directory of one cluster and what goes with it.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    sockets: PathBuf,
    account: Account,
}

impl Home {
    /// Finds or makes the directory; the cluster in it may not be there yet.
    pub(super) fn open(data_dir: &Path) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(data_dir).map_err(at("create", data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(at("read", data_dir))?;
        let place = data_dir.join("postgres");
        let account = Account::of(&place.join("cluster"))?;
        if fs::symlink_metadata(&place).is_err() && !account.enters(&data_dir) {
            let elsewhere = Path::new(ELSEWHERE).join(digest(&data_dir));
            match symlink(&elsewhere, &place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at("create", &place)(error)),
                _ => {}
            }
        }
        let dir = match fs::read_link(&place) {
            Ok(target) => data_dir.join(target),
            Err(_) => place,
        };
        make_passable(Path::new(ELSEWHERE), dir.starts_with(ELSEWHERE))?;
        make_passable(&dir, true)?;
        let dir = dir.canonicalize().map_err(at("read", &dir))?;
        if !account.enters(&dir) {
            return Err(EmbeddedError::Unreachable { dir });
        }
        Ok(Self {
            sockets: socket_dir(&dir),
            account,
            dir,
        })
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    pub(super) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The major version that made the cluster; `None` when there is no cluster.
    pub(super) fn major(&self) -> Option<u32> {
        fs::read_to_string(self.cluster().join("PG_VERSION"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Makes the directory that holds the socket. It alone guards the server, which trusts whoever connects.
    pub(super) fn make_socket_dir(&self) -> Result<&Path, EmbeddedError> {
        self.account.make_private_dir(&self.sockets)?;
        Ok(&self.sockets)
    }

    /// Held as long as the file is open; the system frees it however the process ends.
    pub(super) fn lock(&self) -> Result<File, EmbeddedError> {
        let path = self.dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(at("open", &path))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > end => {
                    return Err(EmbeddedError::InUse { dir: self.dir.clone() });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Creates `dir` if `wanted` and missing: others may pass through, which a umask would forbid, but not list it.
fn make_passable(dir: &Path, wanted: bool) -> Result<(), EmbeddedError> {
    if !wanted || dir.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(at("create", dir))?;
    fs::set_permissions(dir, Permissions::from_mode(0o711)).map_err(at("change the mode of", dir))
}

/// `run`, unless its path is too long for a socket or holds the comma that separates such directories.
fn socket_dir(dir: &Path) -> PathBuf {
    let run = dir.join("run");
    let text = run.as_os_str().as_encoded_bytes();
    if text.len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH && !text.contains(&b',') {
        return run;
    }
    Path::new("/tmp").join(format!("rejoinder-{}", digest(dir)))
}

fn digest(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hex::encode(&digest[..6])
}
