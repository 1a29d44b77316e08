//! All rules, and which of them listen to a type of event.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::checker::Known;
use super::compile;
use super::rule::Rule;
use crate::event::catalogue::Catalogue;
use crate::event::file::{self, FileError};
use crate::event::pattern::Pattern;

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
    /// Reads the `*.toml` of `dir`, and adds all that is wrong to `errors`; a rule whose file is wrong is not among them.
    /// `run_names` are the actions written in Rust, `channels` the names of `events/channels`.
    pub(crate) fn load(
        dir: &Path,
        catalogue: &Arc<Catalogue>,
        run_names: &[&str],
        channels: &[String],
        errors: &mut Vec<FileError>,
    ) -> Self {
        let known = Known {
            catalogue,
            run_names,
            channels,
        };
        let mut rules = Vec::new();
        let files = file::list(dir, "toml").unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        for path in files {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if !is_name(&name) {
                errors.push(FileError::whole(
                    &path,
                    format!("found the name {name:?}, expected 1 to 100 of A-Z a-z 0-9 - _ ."),
                ));
                continue;
            }
            match file::text(&path) {
                Ok(text) => rules.extend(compile::rule(&name, &path, &text, known, errors).map(Arc::new)),
                Err(error) => errors.push(error),
            }
        }
        Self::of(rules)
    }

    /// The rules that emit in a circle, each circle once: what one emits the next one listens to, and the last one's the
    /// first.
    pub(crate) fn circles(&self) -> Vec<Vec<&Arc<Rule>>> {
        self.all.iter().filter_map(|first| self.circle_from(first)).collect()
    }

    /// The shortest circle that begins with this rule and has none whose name comes before.
    fn circle_from<'a>(&'a self, first: &'a Arc<Rule>) -> Option<Vec<&'a Arc<Rule>>> {
        let mut ways = VecDeque::from([vec![first]]);
        let mut seen = HashSet::new();
        while let Some(way) = ways.pop_front() {
            let last = way.last()?;
            for next in last.emits().flat_map(|event_type| self.listening(event_type)) {
                if next.name == first.name {
                    return Some(way);
                }
                if next.name > first.name && seen.insert(next.name.as_str()) {
                    ways.push_back(way.iter().copied().chain([next]).collect());
                }
            }
        }
        None
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
        let (mut by_type, mut by_pattern) = (HashMap::new(), Vec::new());
        for rule in &all {
            let mut has_family = false;
            for pattern in rule.types() {
                match pattern {
                    Pattern::Family(_) => has_family = true,
                    Pattern::One(event_type) => {
                        let listening = all.iter().filter(|rule| rule.listens_to(&event_type));
                        let listening = listening.cloned().collect();
                        by_type.insert(event_type.into(), listening);
                    }
                }
            }
            by_pattern.extend(has_family.then(|| Arc::clone(rule)));
        }
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
