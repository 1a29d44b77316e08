//! The versions of one type: a directory of schemas and upcasters.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::schema::Schema;
use super::{entries, file_name, noted};
use crate::events::file::{self, FileError};
use crate::reactions::expression::Template;

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
                Some(older) => check_paths(file, text, upcaster, older, errors),
            }
        }
        let with_upcaster = schemas.into_iter().map(|(number, schema)| {
            let upcaster = upcasters.remove(&number).map(|(_, _, upcaster)| upcaster);
            (number, Version { schema, upcaster })
        });
        Self(with_upcaster.collect())
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
