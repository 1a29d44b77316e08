//! The file that Dialogflow imports: an agent's sources in a ZIP archive.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Head, json};
use crate::event::file::{self, FileError};

/// An archive, and how many files are in it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: usize,
}

/// Packs the agent of `dir`; the same sources make the same bytes. Hidden files are left out, and so is what lies beside
/// `agent.json` and is no JSON: a README, an archive.
///
/// # Errors
/// When it is no agent, or one of its JSON files cannot be read.
pub(crate) fn pack(dir: &Path) -> anyhow::Result<Package> {
    Head::read(dir)?.kind(dir)?;
    let mut paths = file::list(dir, "json")?;
    paths.retain(|path| !file::file_name(path).starts_with('.'));
    for entry in file::entries(dir)? {
        if entry.is_dir() {
            below(&entry, &mut paths)?;
        }
    }
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for path in &paths {
        archive.start_file(name(dir, path)?, SimpleFileOptions::default())?;
        archive.write_all(&content(path)?)?;
    }
    Ok(Package {
        bytes: archive.finish()?.into_inner(),
        files: paths.len(),
    })
}

fn below(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for entry in file::entries(dir)? {
        match entry.is_dir() {
            true => below(&entry, paths)?,
            false => paths.push(entry),
        }
    }
    Ok(())
}

fn content(path: &Path) -> Result<Vec<u8>, FileError> {
    if path.extension().is_some_and(|extension| extension == "json") {
        json::<IgnoredAny>(path)?;
    }
    std::fs::read(path).map_err(|error| FileError::whole(path, error))
}

/// Its name in the archive.
fn name(dir: &Path, path: &Path) -> Result<String, FileError> {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| FileError::whole(path, "expected a name in UTF-8"))
}
