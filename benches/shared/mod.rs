//! What the benches have in common: servers in processes of their own, the load on them, and the table of figures.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rejoinder::config::ProgramSettings;

pub(crate) mod contestant;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod progress;
pub(crate) mod slice;
pub(crate) mod verdict;

/// A bench's directory, without what a run before has left there: its tables may be another version's.
pub(crate) fn empty_dir(name: &str) -> anyhow::Result<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Where PostgreSQL's programs come from.
pub(crate) fn programs(pg_bindir: Option<&Path>) -> ProgramSettings {
    ProgramSettings {
        pg_bindir: pg_bindir.map(Path::to_owned),
        ..ProgramSettings::from_environment()
    }
}
