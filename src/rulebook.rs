//! The files of the events directory that are in force, all of one edition: read anew when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};

use crate::conversation::{Channels, ChannelsInForce, channel_secrets};
use crate::event::catalogue::{Catalogue, Violation};
use crate::event::envelope::Envelope;
use crate::event::file::{self, FileError};
use crate::event::layout;
use crate::reactions::rule::Rule;
use crate::reactions::rules::Rules;
use crate::source::generated::SourceSecrets;
use crate::source::{Source, Sources, Surroundings};

/// The edition in force; shared by all who take events in or apply them.
#[derive(Debug)]
pub(crate) struct Rulebook {
    events_dir: PathBuf,
    run_names: Vec<&'static str>,
    surroundings: Surroundings,
    edition: ArcSwap<Edition>,
    /// Of the files that were read last, whether or not they were right.
    seen: ArcSwap<FilesDigest>,
}

/// Sources, schemas, rules and channels that fit each other.
#[derive(Debug)]
pub(crate) struct Edition {
    /// Who may tell of events.
    pub(crate) sources: Sources,
    /// Types, versions and schemas.
    pub(crate) catalogue: Arc<Catalogue>,
    /// The rules.
    pub(crate) rules: Rules,
    /// Where notifications go besides the chat.
    pub(crate) channels: Arc<Channels>,
    /// What is hardly meant so.
    pub(crate) warnings: Vec<FileError>,
}

/// What a look at the files came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// They are as they were.
    Unchanged,
    /// A new edition is in force.
    Swapped,
    /// They are wrong; the old edition stays.
    Refused(Vec<FileError>),
}

type FilesDigest = [u8; 32];

impl Rulebook {
    /// Reads `sources`, `schemas`, `reactions` and `channels` in `events_dir`. `run_names` are the actions written in Rust.
    ///
    /// # Errors
    /// All that is wrong with all files.
    pub(crate) fn load(
        events_dir: &Path,
        run_names: &[&'static str],
        surroundings: &Surroundings,
    ) -> Result<Self, Vec<FileError>> {
        let digest = digest(events_dir).map_err(|error| vec![error])?;
        let edition = Edition::load(events_dir, run_names, surroundings, None)?;
        for warning in &edition.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self {
            events_dir: events_dir.to_owned(),
            run_names: run_names.to_vec(),
            surroundings: surroundings.clone(),
            edition: ArcSwap::from_pointee(edition),
            seen: ArcSwap::from_pointee(digest),
        })
    }

    /// For those who send to channels.
    pub(crate) fn channels(self: &Arc<Self>) -> ChannelsInForce {
        let rulebook = Arc::clone(self);
        Arc::new(move || Arc::clone(&rulebook.edition().channels))
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
            Ok(_) => {
                let before = self.edition();
                Edition::load(
                    &self.events_dir,
                    &self.run_names,
                    &self.surroundings,
                    Some(&before.sources),
                )
            }
            Err(error) => Err(vec![error]),
        };
        match loaded {
            Ok(edition) => {
                tracing::info!(
                    sources = edition.sources.iter().count(),
                    rules = edition.rules.all().len(),
                    "events directory was read anew"
                );
                for warning in &edition.warnings {
                    tracing::warn!("{warning}");
                }
                self.edition.store(Arc::new(edition));
                Reload::Swapped
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!(%error, "events directory stays as it was");
                }
                Reload::Refused(errors)
            }
        }
    }

    /// Looks at the files again and again, and sees to the secrets of its sources; never ends.
    pub(crate) async fn watch(self: Arc<Self>, every: Duration, secrets: Option<SourceSecrets>) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let book = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || book.reload_if_changed()).await {
                tracing::error!(%error, "events directory could not be read anew");
            }
            if let Some(secrets) = &secrets {
                secrets.give(&self.edition().sources).await;
            }
        }
    }
}

impl Edition {
    /// Checks that `source` may send the event, that its type and version are known, and that its payload satisfies the
    /// schema.
    ///
    /// # Errors
    /// All that is wrong, up to 20.
    pub(crate) fn check(&self, source: &Source, event: &Envelope) -> Result<(), Vec<Violation>> {
        if let Some(violation) = self.sources.forbids(source, &event.event_type) {
            return Err(vec![violation]);
        }
        self.catalogue
            .check(&event.event_type, event.schema_version, &event.payload)
    }

    fn load(
        events_dir: &Path,
        run_names: &[&str],
        surroundings: &Surroundings,
        before: Option<&Sources>,
    ) -> Result<Self, Vec<FileError>> {
        let (sources, mut errors) = Sources::load(&events_dir.join("sources"), surroundings, before);
        let (catalogue, of_schemas) = Catalogue::read(&events_dir.join("schemas"), sources.prefixes());
        errors.extend(of_schemas);
        let catalogue = Arc::new(catalogue);
        // A channel whose file is wrong is there all the same: its rules are not wrong too.
        let names = channels(events_dir).map_err(|error| vec![error])?;
        let channels = Channels::load(&events_dir.join("channels")).unwrap_or_else(|of_channels| {
            errors.extend(of_channels);
            Channels::default()
        });
        let reactions = events_dir.join("reactions");
        let rules = Rules::load(&reactions, &catalogue, run_names, &names, &mut errors);
        errors.extend(gaps(&catalogue, &rules, &events_dir.join("schemas")));
        errors.extend(circles(&rules, &reactions));
        if errors.iter().any(FileError::is_error) {
            return Err(errors);
        }
        Ok(Self {
            sources,
            catalogue,
            rules,
            channels: Arc::new(channels),
            warnings: errors,
        })
    }
}

/// Versions from which no upcasters lead to the newest one, of types that a rule listens to: their events would die.
fn gaps(catalogue: &Catalogue, rules: &Rules, schemas: &Path) -> Vec<FileError> {
    let gaps = catalogue.gaps().filter_map(|(event_type, to)| {
        let listens = |rule: &&Arc<Rule>| {
            let types = rule.types();
            let mut known = types.iter().flat_map(|pattern| catalogue.matching(pattern));
            known.any(|known| known == event_type)
        };
        let rule = rules.all().iter().find(listens)?;
        let dir = schemas.join(&event_type);
        let file = dir.join(format!("{to}.json"));
        let missing = if file.exists() {
            format!("{to}.upcast.jinja")
        } else {
            format!("{to}.json")
        };
        let message = format!(
            "found no {missing}, expected it: events of version {} come and are in the log, and the rule {} listens to \
             them",
            to - 1,
            rule.name
        );
        Some(FileError::whole(if file.exists() { &file } else { &dir }, message))
    });
    gaps.collect()
}

/// Rules that emit in a circle: an event that is emitted so would stop after some rounds, as a dead letter.
fn circles(rules: &Rules, reactions: &Path) -> Vec<FileError> {
    let circles = rules.circles().into_iter().filter_map(|circle| {
        let names: Vec<&str> = circle.iter().map(|rule| rule.name.as_str()).collect();
        let file = reactions.join(format!("{}.toml", names.first()?));
        let way = names.join(" emits for ");
        let message = format!("found a circle: {way} emits for {}, expected an end", names.first()?);
        let error = FileError::whole(&file, message);
        Some(if circle.iter().any(|rule| rule.is_conditional()) {
            error.into_warning()
        } else {
            error
        })
    });
    circles.collect()
}

/// Why the files cannot be put in force.
pub(crate) fn errors(events_dir: &Path, run_names: &[&str], surroundings: &Surroundings) -> Vec<FileError> {
    let loaded = Edition::load(events_dir, run_names, surroundings, None);
    let mut errors = loaded.err().unwrap_or_default();
    errors.retain(FileError::is_error);
    errors
}

/// All that is wrong with all files, and what is hardly meant so: also what lies where nobody reads it, and secrets that
/// are not set.
pub(crate) fn check(events_dir: &Path, run_names: &[&str], surroundings: &Surroundings) -> Vec<FileError> {
    let mut errors = layout::check(events_dir);
    match Edition::load(events_dir, run_names, surroundings, None) {
        Err(found) => errors.extend(found),
        Ok(edition) => {
            errors.extend(unset(&edition, events_dir));
            errors.extend(edition.warnings);
        }
    }
    errors
}

/// Channels and calls whose secret is not set.
fn unset(edition: &Edition, events_dir: &Path) -> Vec<FileError> {
    let of_channels = edition.channels.without_secret().map(|(name, wrong)| {
        let file = events_dir.join("channels").join(format!("{name}.toml"));
        FileError::whole(&file, format!("{wrong}; a service that sends does not start"))
    });
    let of_rules = edition.rules.all().iter().flat_map(|rule| {
        let file = events_dir.join("reactions").join(format!("{}.toml", rule.name));
        let wrong = rule.secrets().filter_map(|name| channel_secrets(name).err());
        wrong.map(move |wrong| FileError::whole(&file, format!("{wrong}; its call is not made")))
    });
    of_channels.chain(of_rules).map(FileError::into_warning).collect()
}

fn channels(events_dir: &Path) -> Result<Vec<String>, FileError> {
    let files = file::list(&events_dir.join("channels"), "toml")?;
    let names = files.iter().filter_map(|path| path.file_stem());
    Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Of the names and contents of all files that an edition is made of.
fn digest(events_dir: &Path) -> Result<FilesDigest, FileError> {
    let mut digest = Sha256::new();
    let mut open = ["sources", "schemas", "reactions", "channels"]
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
