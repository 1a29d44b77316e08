//! The account that the server runs as: ours, or a lesser one where we are root, which PostgreSQL refuses.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use super::error::{EmbeddedError, at};

/// Who runs the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    /// The user of this process.
    Ours,
    /// Another one, to which we drop as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The owner of the cluster if there is one, so that an account installed later changes nothing; else the
    /// first of the usual ones. It needs an entry in the user database, as `initdb` looks itself up.
    pub(super) fn of(cluster: &Path) -> Result<Self, EmbeddedError> {
        if !Uid::effective().is_root() {
            return Ok(Self::Ours);
        }
        if let Ok(found) = fs::metadata(cluster)
            && found.uid() != 0
        {
            return Ok(Self::Other {
                uid: found.uid(),
                gid: found.gid(),
            });
        }
        ["postgres", "_postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Other {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or(EmbeddedError::NoAccount)
    }

    /// Whether the account can enter `dir` and all above it. Groups are not looked at: a no too many only moves
    /// the cluster.
    pub(super) fn enters(self, dir: &Path) -> bool {
        let Self::Other { uid, .. } = self else { return true };
        dir.ancestors().all(|dir| {
            fs::metadata(dir).is_ok_and(|dir| {
                let needed = if dir.uid() == uid { 0o100 } else { 0o001 };
                dir.mode() & needed != 0
            })
        })
    }

    /// Makes `dir` a directory that only the account enters. One that is there already must be ours or the
    /// account's: below `/tmp` anybody may have been first.
    pub(super) fn make_private_dir(self, dir: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at("create", dir)(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(dir).map_err(at("read", dir))?;
        let us = Uid::effective().as_raw();
        let (uid, gid) = match self {
            Self::Ours => (us, found.gid()),
            Self::Other { uid, gid } => (uid, gid),
        };
        if !found.is_dir() || (found.uid() != us && found.uid() != uid) {
            return Err(EmbeddedError::NotOurs { dir: dir.to_owned() });
        }
        if (found.uid(), found.gid()) != (uid, gid) {
            chown(dir, Some(uid), Some(gid)).map_err(at("change the owner of", dir))?;
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(at("change the mode of", dir))
    }

    /// A command that runs as the account, outside our process group, so that Ctrl-C in a terminal reaches the
    /// service first, and without our environment, which holds secrets and may hold `PG…` settings.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        end_with_us(&mut command);
        command
    }
}

/// Has the kernel send SIGINT (a fast, clean shutdown) when the thread that runs `command` ends.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "only a child can ask for its parent-death signal, between fork and exec"
)]
fn end_with_us(command: &mut Command) {
    use nix::sys::{prctl, signal::Signal};
    // SAFETY: the closure makes one system call; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGINT).map_err(io::Error::from)) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}
