//! The rules in force, with the schemas they were checked against: read anew when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};

use super::rules::Rules;
use crate::conversation::Channels;
use crate::events::catalogue::Catalogue;
use crate::events::file::{self, FileError};
use crate::events::source;

/// The rules in force; shared by all who apply events.
#[derive(Debug)]
pub(crate) struct Rulebook {
    events_dir: PathBuf,
    run_names: Vec<&'static str>,
    edition: ArcSwap<Edition>,
    /// Of the files that were read last, whether or not they were right.
    seen: ArcSwap<FilesDigest>,
}

/// Rules, schemas and channels that fit each other.
#[derive(Debug)]
pub(crate) struct Edition {
    /// Types, versions and schemas.
    pub(crate) catalogue: Arc<Catalogue>,
    /// The rules.
    pub(crate) rules: Rules,
    /// Where notifications go besides the chat.
    pub(crate) channels: Channels,
}

/// What a look at the files came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// They are as they were.
    Unchanged,
    /// New rules are in force.
    Swapped,
    /// They are wrong; the old rules stay.
    Refused(Vec<FileError>),
}

type FilesDigest = [u8; 32];

impl Rulebook {
    /// Reads `schemas`, `reactions` and `channels` in `events_dir`. `run_names` are the actions written in Rust.
    ///
    /// # Errors
    /// All that is wrong with all files.
    pub(crate) fn load(events_dir: &Path, run_names: &[&'static str]) -> Result<Self, Vec<FileError>> {
        let digest = digest(events_dir).map_err(|error| vec![error])?;
        let edition = Edition::load(events_dir, run_names)?;
        Ok(Self {
            events_dir: events_dir.to_owned(),
            run_names: run_names.to_vec(),
            edition: ArcSwap::from_pointee(edition),
            seen: ArcSwap::from_pointee(digest),
        })
    }

    /// The edition in force. Whoever takes it works with one edition to the end.
    pub(crate) fn edition(&self) -> Arc<Edition> {
        self.edition.load_full()
    }

    /// Reads the files if they have changed, and puts them in force if they are right; else the errors are logged, once
    /// for each change. It reads from the disk.
    pub(crate) fn reload_if_changed(&self) -> Reload {
        let read = digest(&self.events_dir);
        let seen = match &read {
            Ok(digest) => *digest,
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        if seen == **self.seen.load() {
            return Reload::Unchanged;
        }
        // A file that changes after its digest was taken is read again at the next look.
        self.seen.store(Arc::new(seen));
        let loaded = match read {
            Ok(_) => Edition::load(&self.events_dir, &self.run_names),
            Err(error) => Err(vec![error]),
        };
        match loaded {
            Ok(edition) => {
                tracing::info!(rules = edition.rules.all().len(), "reactions were read anew");
                self.edition.store(Arc::new(edition));
                Reload::Swapped
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!(%error, "reactions stay as they were");
                }
                Reload::Refused(errors)
            }
        }
    }

    /// Looks at the files again and again; never ends.
    pub(crate) async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let book = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || book.reload_if_changed()).await {
                tracing::error!(%error, "reactions could not be read anew");
            }
        }
    }
}

impl Edition {
    fn load(events_dir: &Path, run_names: &[&str]) -> Result<Self, Vec<FileError>> {
        // What is wrong with a source is told when the sources are read.
        let prefixes = source::prefixes(&events_dir.join("sources")).unwrap_or_default();
        let (catalogue, mut errors) = Catalogue::read(&events_dir.join("schemas"), &prefixes);
        let catalogue = Arc::new(catalogue);
        // A channel whose file is wrong is there all the same: its rules are not wrong too.
        let names = channels(events_dir).map_err(|error| vec![error])?;
        let channels = Channels::load(&events_dir.join("channels")).map_err(|of_channels| errors.extend(of_channels));
        let rules = Rules::load(&events_dir.join("reactions"), &catalogue, run_names, &names);
        let rules = rules.map_err(|of_rules| errors.extend(of_rules));
        match (rules, channels) {
            (Ok(rules), Ok(channels)) if errors.is_empty() => Ok(Self {
                catalogue,
                rules,
                channels,
            }),
            _ => Err(errors),
        }
    }
}

/// All that is wrong with all schemas, rules and channels.
pub(crate) fn check(events_dir: &Path, run_names: &[&str]) -> Vec<FileError> {
    Edition::load(events_dir, run_names).err().unwrap_or_default()
}

fn channels(events_dir: &Path) -> Result<Vec<String>, FileError> {
    let files = file::list(&events_dir.join("channels"), "toml")?;
    let names = files.iter().filter_map(|path| path.file_stem());
    Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Of the names and contents of all files that an edition is made of.
fn digest(events_dir: &Path) -> Result<FilesDigest, FileError> {
    let mut digest = Sha256::new();
    let mut open = ["schemas", "reactions", "channels"]
        .map(|name| events_dir.join(name))
        .to_vec();
    while let Some(dir) = open.pop() {
        let mut entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| FileError::whole(&dir, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(FileError::whole(&dir, error)),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for path in entries.iter().map(std::fs::DirEntry::path) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let contents = match std::fs::read(&path) {
                Ok(contents) => contents,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue, // an editor's, gone again
                Err(error) => return Err(FileError::whole(&path, error)),
            };
            digest.update(format!("{} {}\n", path.display(), contents.len()));
            digest.update(&contents);
        }
    }
    Ok(digest.finalize().into())
}
