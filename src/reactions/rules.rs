//! All rules, and which of them listen to a type of event.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::compile::{self, Known};
use super::rule::Rule;
use crate::events::catalogue::Catalogue;
use crate::events::file::{self, FileError};

/// The rules of `events/reactions`, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    all: Vec<Arc<Rule>>,
    /// For each type that a rule names in full, all rules that listen to it.
    by_type: HashMap<String, Vec<Arc<Rule>>>,
    /// Rules that listen to types by a `*`.
    by_pattern: Vec<Arc<Rule>>,
}

impl Rules {
    /// Reads the `*.toml` of `dir`. `run_names` are the actions written in Rust, `channels` the names of
    /// `events/channels`.
    ///
    /// # Errors
    /// All that is wrong with all files.
    pub(crate) fn load(
        dir: &Path,
        catalogue: &Arc<Catalogue>,
        run_names: &[&str],
        channels: &[String],
    ) -> Result<Self, Vec<FileError>> {
        let known = Known {
            catalogue,
            run_names,
            channels,
        };
        let mut rules = Vec::new();
        let mut errors = Vec::new();
        for path in file::list(dir, "toml").map_err(|error| vec![error])? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if !is_name(&name) {
                errors.push(FileError::whole(
                    &path,
                    format!("found the name {name:?}, expected 1 to 100 of A-Z a-z 0-9 - _ ."),
                ));
                continue;
            }
            let rule = file::text(&path)
                .map_err(|error| vec![error])
                .and_then(|text| compile::rule(&name, &path, &text, known));
            match rule {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() {
            Ok(Self::of(rules))
        } else {
            Err(errors)
        }
    }

    /// The rules that listen to a type, in the order of their names.
    pub(crate) fn listening(&self, event_type: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let (named, others): (&[Arc<Rule>], &[Arc<Rule>]) = match self.by_type.get(event_type) {
            Some(rules) => (rules, &[]),
            None => (&[], &self.by_pattern),
        };
        let others = others.iter().filter(move |rule| rule.listens_to(event_type));
        named.iter().chain(others)
    }

    /// The rule with this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Rule>> {
        self.all.iter().find(|rule| rule.name == name)
    }

    /// All rules, in the order of their names.
    pub(crate) fn all(&self) -> &[Arc<Rule>] {
        &self.all
    }

    fn of(mut all: Vec<Arc<Rule>>) -> Self {
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let is_pattern = |name: &&String| name.ends_with('*');
        let types = all
            .iter()
            .flat_map(|rule| rule.types())
            .filter(|name| !is_pattern(name));
        let by_type = types.map(|event_type| {
            let listening = all.iter().filter(|rule| rule.listens_to(event_type));
            (event_type.clone(), listening.cloned().collect())
        });
        let by_type = by_type.collect();
        let by_pattern = all
            .iter()
            .filter(|rule| rule.types().iter().any(|name| is_pattern(&name)))
            .cloned()
            .collect();
        Self {
            all,
            by_type,
            by_pattern,
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
