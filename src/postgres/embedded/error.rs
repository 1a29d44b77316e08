//! Why the private PostgreSQL did not start, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A start that failed; the texts are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Neither installed nor fetched.
    #[error(
        "no PostgreSQL (initdb and postgres) in {searched}{not_fetched}; get it in one of these ways:\n  \
         Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17\n  \
         Docker: docker compose up -d postgres && \
         export DATABASE_URL=postgres://rejoinder:rejoinder@127.0.0.1:5432/rejoinder"
    )]
    NoBinaries {
        /// Where it was looked for.
        searched: String,
        /// Why it was not fetched; empty where it never is.
        not_fetched: String,
    },
    /// A cluster is served only by the major version that made it.
    #[error(
        "{} was made by PostgreSQL {made_by}, but only PostgreSQL {found} is installed; \
         install PostgreSQL {made_by}, or set DATABASE_URL, or move that directory away to start with an empty one",
        .cluster.display()
    )]
    WrongMajor {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The major versions that were found, separated by commas.
        found: String,
    },
    /// Another process runs the server of this directory.
    #[error("another instance is using the database in {}; set DATABASE_URL to share a database, or DATA_DIR to have another", .dir.display())]
    InUse {
        /// The directory they both want.
        dir: PathBuf,
    },
    /// Processes of a server that died do not end.
    #[error("processes of a PostgreSQL that died are still using {}; end them, or set DATABASE_URL", .cluster.display())]
    StillUsed {
        /// The cluster's directory.
        cluster: PathBuf,
    },
    /// PostgreSQL refuses to run as root, and there is no other account.
    #[error("PostgreSQL does not run as root, and there is no account postgres, _postgres or nobody; set DATABASE_URL")]
    NoAccount,
    /// As root: the directory exists, and the server's account cannot walk to it.
    #[error("{} cannot be reached by the account that runs PostgreSQL; let others enter its parent directories (chmod o+x), or set DATABASE_URL", .dir.display())]
    Unreachable {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory that must be private belongs to somebody else.
    #[error("{} belongs to another user or is not a directory; remove it, or set DATABASE_URL", .dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },
    /// The cluster could not be created.
    #[error("initdb failed: {stderr}")]
    Initdb {
        /// What it said.
        stderr: String,
    },
    /// The server ended while it started.
    #[error("PostgreSQL ended while starting; the end of {}:\n{tail}", .log.display())]
    Ended {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server took too long.
    #[error("PostgreSQL was not ready in {seconds} s; the end of {}:\n{tail}", .log.display())]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried: `create`, `open` and the like.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// For `map_err`: says what was tried, and on what.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Io { action, path, source }
}
