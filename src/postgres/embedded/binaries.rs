//! Finds `initdb` and `postgres`, wherever the system keeps them, or has them fetched.

use std::ffi::OsStr;
use std::fs;
use std::iter::{once, once_with};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::ExposeSecret as _;

use super::archive;
use super::error::EmbeddedError;
use super::fetched::Fetched;
use super::home::Home;
use crate::config::{Fetch, ProgramSettings};

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

/// The directory to use for the cluster of `home`: only that of `PG_BINDIR` where it is set, else a usual one, else one
/// that was fetched or is fetched now. A cluster takes the major version that made it, a new one any.
pub(super) fn find(settings: &ProgramSettings, home: &Home) -> Result<PathBuf, EmbeddedError> {
    let (made_by, cluster) = (home.major(), home.cluster());
    if let Some(bindir) = &settings.pg_bindir {
        let only = once(Candidate::unnamed(bindir.clone()));
        return choose(only, made_by, &cluster, &bindir.display().to_string());
    }
    let fetched = Fetched::of(home.account());
    let candidates = usual(made_by).chain(fetched.bindirs().into_iter().map(Candidate::unnamed));
    match choose(candidates, made_by, &cluster, "the usual places and PATH") {
        Err(EmbeddedError::NoBinaries { searched, .. }) => fetch(settings, made_by, &fetched)
            .map_err(|not_fetched| EmbeddedError::NoBinaries { searched, not_fetched }),
        chosen => chosen,
    }
}

/// Fetches it where that is wanted and of use; else says why not, in a few words.
fn fetch(settings: &ProgramSettings, made_by: Option<u32>, fetched: &Fetched) -> Result<PathBuf, String> {
    let major = archive::VERSION.major;
    if settings.pg_fetch == Fetch::Never {
        return Err(", and PG_FETCH=never".to_owned());
    }
    if let Some(made_by) = made_by.filter(|made_by| u64::from(*made_by) != major) {
        return Err(format!(
            ", and PostgreSQL {made_by} made the data, but {major} is what can be fetched"
        ));
    }
    let done = fetched.fetch(settings.pg_fetch_url.expose_secret());
    done.map_err(|error| {
        let why = format!("{error:#}").replace('\n', " ");
        format!(", and none could be fetched ({why})")
    })
}

struct Candidate {
    dir: PathBuf,
    /// As its name says; saves running the binary.
    major: Option<u32>,
}

impl Candidate {
    fn unnamed(dir: PathBuf) -> Self {
        Self { dir, major: None }
    }
}

fn choose(
    candidates: impl Iterator<Item = Candidate>,
    made_by: Option<u32>,
    cluster: &Path,
    searched: &str,
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
        _ => Err(EmbeddedError::NoBinaries {
            searched: searched.to_owned(),
            not_fetched: String::new(),
        }),
    }
}

/// Best first: made for this cluster, then a person's own choice (PATH), then the newest; what takes a process to
/// find out comes last.
fn usual(made_by: Option<u32>) -> impl Iterator<Item = Candidate> {
    let (same, other): (Vec<_>, Vec<_>) = versioned().into_iter().partition(|named| named.major == made_by);
    let last = ["/usr/local/pgsql/bin".into()]
        .into_iter()
        .chain(once_with(configured).flatten());
    same.into_iter()
        .chain(path().into_iter().map(Candidate::unnamed))
        .chain(other)
        .chain(last.map(Candidate::unnamed))
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
