//! Finds `initdb` and `postgres`, wherever the system keeps them.

use std::ffi::OsStr;
use std::fs;
use std::iter::once_with;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// Directories named for the major version: where, what precedes the number, what follows in the path.
const VERSIONED: [(&str, &str, &str); 11] = [
    ("/usr/lib/postgresql", "", "bin"),                          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                                   // Red Hat, packages of postgresql.org
    ("/usr/lib", "postgresql", "bin"),                           // SUSE
    ("/usr/lib64", "postgresql-", "bin"),                        // Gentoo
    ("/usr/libexec", "postgresql", ""),                          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"),                 // Homebrew, Apple processors
    ("/usr/local/opt", "postgresql@", "bin"),                    // Homebrew, Intel processors
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),    // Homebrew, Linux
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
    ("/Library/PostgreSQL", "", "bin"),                          // EDB
    ("/opt/local/lib", "postgresql", "bin"),                     // MacPorts
];

/// The directory to use for the cluster in `cluster`, which PostgreSQL `made_by` made (`None`: not made yet, so
/// any will do). Only `bindir` is looked at when it is given.
pub(super) fn find(bindir: Option<&Path>, made_by: Option<u32>, cluster: &Path) -> Result<PathBuf, EmbeddedError> {
    let Some(bindir) = bindir else {
        let searched = "the usual places and PATH".to_owned();
        return choose(usual(made_by), made_by, cluster, searched);
    };
    let only = Candidate {
        dir: bindir.to_owned(),
        major: None,
    };
    choose([only].into_iter(), made_by, cluster, bindir.display().to_string())
}

struct Candidate {
    dir: PathBuf,
    /// As its name says; saves running the binary.
    major: Option<u32>,
}

fn choose(
    candidates: impl Iterator<Item = Candidate>,
    made_by: Option<u32>,
    cluster: &Path,
    searched: String,
) -> Result<PathBuf, EmbeddedError> {
    let mut found = Vec::new();
    for Candidate { dir, major } in candidates {
        if !dir.join("initdb").is_file() || !dir.join("postgres").is_file() {
            continue;
        }
        let Some(made_by) = made_by else { return Ok(dir) };
        match major.or_else(|| major_of(&dir)) {
            Some(major) if major == made_by => return Ok(dir),
            Some(major) => found.push(major),
            None => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    match made_by {
        Some(made_by) if !found.is_empty() => Err(EmbeddedError::WrongMajor {
            cluster: cluster.to_owned(),
            made_by,
            found: found.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        }),
        _ => Err(EmbeddedError::NoBinaries { searched }),
    }
}

/// Best first: made for this cluster, then a person's own choice (PATH), then the newest; what takes a process to
/// find out comes last.
fn usual(made_by: Option<u32>) -> impl Iterator<Item = Candidate> {
    let unnamed = |dir| Candidate { dir, major: None };
    let (same, other): (Vec<_>, Vec<_>) = versioned().into_iter().partition(|named| named.major == made_by);
    let last = ["/usr/local/pgsql/bin".into()]
        .into_iter()
        .chain(once_with(configured).flatten());
    same.into_iter()
        .chain(path().into_iter().map(unnamed))
        .chain(other)
        .chain(last.map(unnamed))
}

/// Newest first.
fn versioned() -> Vec<Candidate> {
    let mut all = Vec::new();
    for (root, prefix, tail) in VERSIONED {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(major) = number.and_then(|number| number.parse().ok()) {
                all.push(Candidate {
                    dir: entry.path().join(tail),
                    major: Some(major),
                });
            }
        }
    }
    all.sort_by_key(|candidate| std::cmp::Reverse(candidate.major));
    all
}

#[expect(
    clippy::disallowed_methods,
    reason = "PATH is the system's, not a setting of the service"
)]
fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .iter()
        .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
        .collect()
}

/// What `pg_config`, if there is one, was built for.
fn configured() -> Option<PathBuf> {
    output(OsStr::new("pg_config"), "--bindir").map(PathBuf::from)
}

fn major_of(bindir: &Path) -> Option<u32> {
    major_in(&output(bindir.join("postgres").as_os_str(), "--version")?)
}

/// The 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, the 18 of `… 18beta1`.
fn major_in(version: &str) -> Option<u32> {
    let number = version
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn output(program: &OsStr, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::major_in;

    #[test]
    fn major_version_is_read_from_releases_and_previews() {
        assert_eq!(
            major_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_in("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_in("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_in("not a version"), None);
    }
}
