//! The versions of one type: a directory of schemas and upcasters.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::schema::Schema;
use crate::event::file::{self, FileError, entries, file_name, noted};
use crate::expression::Template;

#[derive(Debug, Default)]
pub(super) struct Versions(pub(super) BTreeMap<u32, Version>);

#[derive(Debug)]
pub(super) struct Version {
    pub(super) schema: Schema,
    pub(super) upcaster: Option<Template>,
}

impl Versions {
    pub(super) fn load(dir: &Path, errors: &mut Vec<FileError>) -> Self {
        let mut schemas = BTreeMap::new();
        let mut upcasters = BTreeMap::new();
        let before = errors.len();
        let files = noted(entries(dir), errors);
        for file in files {
            let Some((version, is_schema)) = version_of(&file) else {
                let message = "expected <version>.json or <version>.upcast.jinja, with a whole number from 1";
                errors.push(FileError::whole(&file, message));
                continue;
            };
            if is_schema {
                let schema = file::text(&file).and_then(|text| Schema::read(&file, &text));
                let schema = schema.unwrap_or_else(|error| {
                    errors.push(error);
                    Schema::anything()
                });
                schemas.insert(version, schema);
                continue;
            }
            match file::text(&file).and_then(|text| Ok((compile(&file, &text)?, text))) {
                Ok((upcaster, text)) => {
                    upcasters.insert(version, (file, text, upcaster));
                }
                Err(error) => errors.push(error),
            }
        }
        if schemas.is_empty() && errors.len() == before {
            errors.push(FileError::whole(dir, "found no schema, expected 1.json"));
        }
        for (version, (file, text, upcaster)) in &upcasters {
            let older = version.checked_sub(1).and_then(|older| schemas.get(&older));
            match older {
                _ if !schemas.contains_key(version) => {
                    let message = format!("found an upcaster to version {version}, expected {version}.json beside it");
                    errors.push(FileError::whole(file, message));
                }
                None => {
                    let message = "found an upcaster, expected the schema of the version before beside it";
                    errors.push(FileError::whole(file, message));
                }
                Some(older) => {
                    let before = errors.len();
                    check_paths(file, text, upcaster, older, errors);
                    if let Some(newer) = schemas.get(version).filter(|_| errors.len() == before) {
                        errors.extend(problem(upcaster, older, newer).map(|(problem, is_always)| {
                            let error = FileError::whole(file, problem);
                            if is_always { error } else { error.into_warning() }
                        }));
                    }
                }
            }
        }
        let with_upcaster = schemas.into_iter().map(|(number, schema)| {
            let upcaster = upcasters.remove(&number).map(|(_, _, upcaster)| upcaster);
            (number, Version { schema, upcaster })
        });
        Self(with_upcaster.collect())
    }

    /// The versions that events of the one before cannot be brought up to, for there is no schema or no upcaster.
    pub(super) fn gaps(&self) -> impl Iterator<Item = u32> {
        let first = self.0.keys().next().copied().unwrap_or_default();
        let later = first + 1..=self.latest();
        later.filter(|to| self.0.get(to).is_none_or(|version| version.upcaster.is_none()))
    }

    /// One version that takes any object.
    pub(super) fn object() -> Self {
        let version = Version {
            schema: Schema::object(),
            upcaster: None,
        };
        Self(BTreeMap::from([(1, version)]))
    }

    pub(super) fn latest(&self) -> u32 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }
}

/// The payload of the version before, brought up to this one.
pub(super) fn apply(upcaster: &Template, payload: &Value) -> Result<Value, String> {
    let names = minijinja::context! { payload => minijinja::Value::from(minijinja::value::Serde(payload)) };
    let text = upcaster.render(&names).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("found no JSON, but {error}"))
}

/// What goes wrong with an example of the older version, and whether it does with any. An example has all that the schema
/// lists; if that is brought up, another has no more than it requires.
fn problem(upcaster: &Template, older: &Schema, newer: &Schema) -> Option<(String, bool)> {
    [true, false].into_iter().find_map(|with_optional| {
        let example = older.example(with_optional)?;
        let wrong = match apply(upcaster, &example) {
            Err(problem) => problem,
            Ok(upcast) => {
                let violation = newer.check_value(&upcast).err()?.into_iter().next()?;
                format!(
                    "printed {upcast}, which its schema refuses: {}: {}",
                    violation.pointer, violation.message
                )
            }
        };
        Some((format!("for the payload {example}: {wrong}"), with_optional))
    })
}

/// The version of a file, and whether it is a schema; none for a file that is neither schema nor upcaster.
fn version_of(file: &Path) -> Option<(u32, bool)> {
    let name = file_name(file);
    let (number, is_schema) = match name.strip_suffix(".json") {
        Some(number) => (number, true),
        None => (name.strip_suffix(".upcast.jinja")?, false),
    };
    let version = number.parse::<u32>().ok()?;
    // As the log's column has it, and so that no two files are of one version.
    let is_version = (1..=i32::MAX.unsigned_abs()).contains(&version) && version.to_string() == number;
    is_version.then_some((version, is_schema))
}

fn compile(file: &Path, text: &str) -> Result<Template, FileError> {
    Template::compile_json(text).map_err(|error| FileError::at(file, text, error.offset, error.message))
}

/// An upcaster reads `payload`, and of it only what the version before has.
fn check_paths(file: &Path, text: &str, upcaster: &Template, older: &Schema, errors: &mut Vec<FileError>) {
    for path in upcaster.paths() {
        let segments: Vec<&str> = path.split('.').collect();
        let message = match segments.as_slice() {
            ["payload", rest @ ..] if older.has_path(rest) => continue,
            ["payload", ..] => format!("found {path}, which the version before does not have"),
            _ => format!("found {path}, expected only payload"),
        };
        errors.push(FileError::at(file, text, text.find(&path).unwrap_or(0), message));
    }
}
