//! The catalogue: which types of events there are, in which versions, and what their payloads look like.

mod accepts;
mod example;
mod place;
mod schema;
mod versions;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::schema::Schema;
pub(crate) use self::schema::Violation;
use self::versions::{Versions, apply};
use super::file::{FileError, entries, file_name, noted};
use super::pattern::{self, Pattern};
use crate::nearest::did_you_mean;

/// All types that are known.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// By the whole type.
    types: BTreeMap<String, Versions>,
    /// By what stands before the `*`.
    families: BTreeMap<String, Versions>,
    published: Published,
}

/// What anybody may read of the catalogue.
#[derive(Debug)]
pub(crate) struct Published {
    /// JSON: types, with versions, their schemas, and whether the version before can be brought up to them.
    pub(crate) body: String,
    /// Changes when the body does; in quotes, as the header `ETag` wants it.
    pub(crate) etag: String,
}

/// Why a payload cannot be brought up to the newest version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpcastError {
    /// No schema is known for the type.
    #[error("no schema for event type {0:?}")]
    UnknownType(String),
    /// The version, or one after it, is missing or has no upcaster.
    #[error("{event_type}: found version {from}, expected a version or upcaster {wanted}")]
    NoWay {
        /// The type.
        event_type: String,
        /// The payload's version.
        from: u32,
        /// The version that is missing, or has no upcaster.
        wanted: u32,
    },
    /// The template fails on this payload.
    #[error("upcaster of {event_type} to version {to}: {problem}")]
    Template {
        /// The type.
        event_type: String,
        /// The upcaster's version.
        to: u32,
        /// One line.
        problem: String,
    },
    /// The result is not what the newest version's schema wants.
    #[error("upcast {event_type} does not satisfy version {latest}: {pointer}: {message}")]
    Invalid {
        /// The type.
        event_type: String,
        /// The newest version.
        latest: u32,
        /// Where in it.
        pointer: String,
        /// What is wrong there.
        message: String,
    },
}

impl Catalogue {
    /// Reads `dir`, which has a directory for each type, which has `<version>.json` and maybe `<version>.upcast.jinja`.
    ///
    /// # Errors
    /// All that is wrong with all files.
    pub(crate) fn load(dir: &Path) -> Result<Self, Vec<FileError>> {
        let (catalogue, mut errors) = Self::read(dir, &[]);
        errors.retain(FileError::is_error);
        if errors.is_empty() { Ok(catalogue) } else { Err(errors) }
    }

    /// As [`load`](Self::load), with a schema that takes anything for each that is wrong: so rules can be checked, too.
    ///
    /// `prefixes` are those of types whose schemas are the sender's own affair: where none is given, they take any
    /// object.
    pub(crate) fn read(dir: &Path, prefixes: &[String]) -> (Self, Vec<FileError>) {
        let mut errors = Vec::new();
        let mut types = BTreeMap::new();
        let mut families = BTreeMap::new();
        for type_dir in noted(entries(dir), &mut errors) {
            if !type_dir.is_dir() {
                errors.push(FileError::whole(
                    &type_dir,
                    "found a file, expected a directory named by a type",
                ));
                continue;
            }
            let name = file_name(&type_dir);
            let Some(pattern) = Pattern::parse(&name) else {
                let message = format!("found the type {name:?}, expected {}", pattern::EXPECTED);
                errors.push(FileError::whole(&type_dir, message));
                continue;
            };
            let versions = Versions::load(&type_dir, &mut errors);
            match pattern {
                Pattern::Family(prefix) => families.insert(prefix, versions),
                Pattern::One(_) => types.insert(name, versions),
            };
        }
        for prefix in prefixes {
            families.entry(prefix.clone()).or_insert_with(Versions::object);
        }
        let published = Published::of(&types, &families);
        let catalogue = Self {
            types,
            families,
            published,
        };
        (catalogue, errors)
    }

    /// Checks what an envelope says: its type and version are known, and its payload satisfies the schema.
    ///
    /// # Errors
    /// All that is wrong, up to 20.
    pub(crate) fn check(&self, event_type: &str, version: u32, payload: &RawValue) -> Result<(), Vec<Violation>> {
        self.schema(event_type, version)?.check(payload.get())
    }

    /// As [`check`](Self::check), of a payload that is read already.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check_value(&self, event_type: &str, version: u32, payload: &Value) -> Result<(), Vec<Violation>> {
        self.schema(event_type, version)?.check_value(payload)
    }

    /// The payload in the newest version of its type, and that version.
    ///
    /// # Errors
    /// [`UpcastError`] when there is no way there or what comes out is not valid.
    pub(crate) fn upcast(&self, event_type: &str, version: u32, payload: Value) -> Result<(u32, Value), UpcastError> {
        let versions = self
            .versions(event_type)
            .ok_or_else(|| UpcastError::UnknownType(event_type.to_owned()))?;
        let latest = versions.latest();
        if version == latest {
            return Ok((latest, payload));
        }
        let no_way = |wanted| UpcastError::NoWay {
            event_type: event_type.to_owned(),
            from: version,
            wanted,
        };
        if !versions.0.contains_key(&version) {
            return Err(no_way(version));
        }
        let mut upcast = payload;
        for to in version + 1..=latest {
            let upcaster = versions.0.get(&to).and_then(|version| version.upcaster.as_ref());
            upcast = upcaster
                .ok_or_else(|| no_way(to))
                .map(|upcaster| apply(upcaster, &upcast))?
                .map_err(|problem| UpcastError::Template {
                    event_type: event_type.to_owned(),
                    to,
                    problem,
                })?;
        }
        match self.check_value(event_type, latest, &upcast) {
            Ok(()) => Ok((latest, upcast)),
            Err(violations) => {
                let first = violations.into_iter().next();
                let (pointer, message) = first.map_or_else(Default::default, |first| (first.pointer, first.message));
                Err(UpcastError::Invalid {
                    event_type: event_type.to_owned(),
                    latest,
                    pointer,
                    message,
                })
            }
        }
    }

    /// Whether the newest schema of a type lists something at `path`, which begins with `payload`, that may be missing.
    pub(crate) fn is_optional(&self, event_type: &str, path: &[&str]) -> bool {
        let Some(("payload", rest)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
            return false;
        };
        self.versions(event_type)
            .and_then(|versions| versions.0.values().next_back())
            .is_some_and(|version| version.schema.is_optional(rest))
    }

    /// The properties that the newest schema of a type lists at `path`, which begins with `payload`.
    pub(crate) fn properties(&self, event_type: &str, path: &[&str]) -> Vec<&str> {
        let path = path.split_first().map_or(&[] as &[&str], |(_, rest)| rest);
        let newest = self
            .versions(event_type)
            .and_then(|versions| versions.0.values().next_back());
        newest
            .map(|version| version.schema.properties(path))
            .unwrap_or_default()
    }

    /// What is wrong with a payload, in the newest version of its type, whatever stands at the JSON pointers of `open`.
    pub(crate) fn violation_besides(&self, event_type: &str, payload: &Value, open: &[String]) -> Option<Violation> {
        let newest = self.versions(event_type)?.0.values().next_back()?;
        newest.schema.violation_besides(payload, open)
    }

    /// The types, families among them as `github.*`, with an older version whose events cannot be brought up to the
    /// newest one, each with the version that is missing or has no upcaster.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (String, u32)> {
        let types = self.types.iter().map(|(name, versions)| (name.clone(), versions));
        let families = self
            .families
            .iter()
            .map(|(prefix, versions)| (format!("{prefix}*"), versions));
        types
            .chain(families)
            .filter_map(|(name, versions)| Some((name, versions.gaps().next()?)))
    }

    /// The newest version of a type; none when it is unknown.
    pub(crate) fn latest(&self, event_type: &str) -> Option<u32> {
        self.versions(event_type).map(Versions::latest)
    }

    /// Whether the newest schema of a type has something at `path`, which begins with `payload`. Where a schema lists
    /// properties and does not say `additionalProperties: true`, it has only those; one that lists none has all.
    pub(crate) fn has_path(&self, event_type: &str, path: &[&str]) -> bool {
        let Some(("payload", rest)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
            return false;
        };
        self.versions(event_type)
            .and_then(|versions| versions.0.values().next_back())
            .is_some_and(|version| version.schema.has_path(rest))
    }

    /// The known types that a pattern stands for, families among them as `github.*`.
    pub(crate) fn matching(&self, pattern: &Pattern) -> Vec<String> {
        let prefix = match pattern {
            Pattern::One(one) => return self.versions(one).map(|_| one.to_string()).into_iter().collect(),
            Pattern::Family(prefix) => prefix.as_str(),
        };
        let types = self.types.keys().filter(|name| name.starts_with(prefix)).cloned();
        let families = self
            .families
            .keys()
            .filter(|family| family.starts_with(prefix) || prefix.starts_with(family.as_str()))
            .map(|family| format!("{family}*"));
        types.chain(families).collect()
    }

    /// What anybody may read.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// What could have been meant by a type, or a pattern of types, that no schema knows.
    pub(crate) fn unknown_type(&self, found: &str) -> String {
        let families: Vec<String> = self.families.keys().map(|prefix| format!("{prefix}*")).collect();
        let known = self.types.keys().map(String::as_str);
        let meant = did_you_mean(found, known.chain(families.iter().map(String::as_str)));
        format!("found event type {found:?}, expected one that events/schemas has{meant}")
    }

    fn schema(&self, event_type: &str, version: u32) -> Result<&Schema, Vec<Violation>> {
        let Some(versions) = self.versions(event_type) else {
            let message = "found a type that no schema knows, expected one of GET /events/catalogue";
            return Err(vec![Violation::new("/event_type", message)]);
        };
        let Some(version) = versions.0.get(&version) else {
            let known: Vec<String> = versions.0.keys().map(u32::to_string).collect();
            let message = format!("found version {version}, expected {}", known.join(" or "));
            return Err(vec![Violation::new("/schema_version", &message)]);
        };
        Ok(&version.schema)
    }

    /// The exact type, else the longest family.
    fn versions(&self, event_type: &str) -> Option<&Versions> {
        self.types.get(event_type).or_else(|| {
            self.families
                .iter()
                .filter(|(prefix, _)| event_type.starts_with(prefix.as_str()))
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, versions)| versions)
        })
    }
}

impl Published {
    fn of(types: &BTreeMap<String, Versions>, families: &BTreeMap<String, Versions>) -> Self {
        let families = families
            .iter()
            .map(|(prefix, versions)| (format!("{prefix}*"), versions));
        let all = types
            .iter()
            .map(|(name, versions)| (name.clone(), versions))
            .chain(families);
        let types: Vec<Value> = all
            .map(|(name, versions)| {
                let versions: Vec<Value> = versions
                    .0
                    .iter()
                    .map(|(number, version)| {
                        json!({"version": number, "upcaster": version.upcaster.is_some(), "schema": version.schema.source})
                    })
                    .collect();
                json!({"type": name, "versions": versions})
            })
            .collect();
        let body = json!({"types": types}).to_string();
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
        Self { body, etag }
    }
}

#[cfg(test)]
mod tests;
