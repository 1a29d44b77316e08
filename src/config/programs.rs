//! Where the private PostgreSQL's programs come from.

use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use secrecy::SecretString;

use super::without_empty_variables;

/// Where the private PostgreSQL's programs come from: they are on the machine, or are fetched.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Database")]
pub struct ProgramSettings {
    /// Directory of PostgreSQL's server programs (initdb, postgres); unset: looked for where systems keep them
    #[arg(long, env = "PG_BINDIR")]
    pub pg_bindir: Option<PathBuf>,
    /// Whether PostgreSQL is fetched, once, where none is found: auto or never
    #[arg(long, env = "PG_FETCH", default_value = "auto")]
    pub pg_fetch: Fetch,
    /// Where PostgreSQL is fetched from, as http(s)://host/path of the releases of theseus-rs/postgresql-binaries or a
    /// mirror of them
    #[arg(
        long,
        env = "PG_FETCH_URL",
        hide_env_values = true,
        default_value = "https://github.com/theseus-rs/postgresql-binaries/releases/download",
        value_name = "URL"
    )]
    pub pg_fetch_url: SecretString,
}

/// Whether PostgreSQL is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fetch {
    /// Where none is found.
    Auto,
    /// Not at all.
    Never,
}

impl ProgramSettings {
    /// As the environment says: for tests and what else has no command line. Ends the process where that is wrong.
    pub fn from_environment() -> Self {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            programs: ProgramSettings,
        }
        let matches = without_empty_variables(Line::command()).get_matches_from(["rejoinder"]);
        let line = Line::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        line.programs
    }
}

/// Where `XDG_CACHE_HOME` says that programs keep what they can fetch again.
pub(crate) fn cache_home() -> Option<PathBuf> {
    dir("XDG_CACHE_HOME")
}

/// Where the system's custom says so, for the user that `HOME` is of.
pub(crate) fn cache_in_home() -> Option<PathBuf> {
    let custom = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    Some(dir("HOME")?.join(custom))
}

fn dir(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "`config` is where the environment is read")]
    let dir = std::env::var_os(name).map(PathBuf::from);
    dir.filter(|dir| dir.is_absolute())
}
