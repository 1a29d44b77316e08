//! From a rule's file to a rule: all that can be known to be wrong is found here, with its place.

mod actions;
mod sees;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use self::sees::{Sees, asks_for};
use super::action::Action;
use super::content::{Content, ContentFile};
use super::rule::{Join, JoinMode, Rule, Trigger};
use super::rule_file::{JoinFile, RuleFile};
use crate::event::catalogue::Catalogue;
use crate::event::event_type::is_pattern;
use crate::event::file::{self, FileError, braces};
use crate::expression::{BadSource, Expression};

/// A join waits at most so long.
const MAX_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a rule may refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Types and their schemas.
    pub(super) catalogue: &'a Arc<Catalogue>,
    /// Actions written in Rust.
    pub(super) run_names: &'a [&'a str],
    /// Names of `events/channels`; `chat` is one without a file.
    pub(super) channels: &'a [String],
}

/// Compiles the `text` of the rule `name`, and adds what is wrong with it to `errors`.
pub(super) fn rule(name: &str, file: &Path, text: &str, known: Known<'_>, errors: &mut Vec<FileError>) -> Option<Rule> {
    let written: RuleFile = match file::toml(file, text) {
        Ok(written) => written,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut compiler = Compiler {
        file,
        text,
        known,
        condition: String::new(),
        errors: Vec::new(),
    };
    let rule = compiler.rule(name, written);
    let rule = rule.filter(|_| !compiler.errors.iter().any(FileError::is_error));
    errors.append(&mut compiler.errors);
    rule
}

/// Methods that find something wrong note it in `errors` and return none.
struct Compiler<'a> {
    file: &'a Path,
    text: &'a str,
    known: Known<'a>,
    /// What `when` asks before anything else is evaluated.
    condition: String,
    errors: Vec<FileError>,
}

impl Compiler<'_> {
    fn rule(&mut self, name: &str, written: RuleFile) -> Option<Rule> {
        let (types, joined) = self.types(&written)?;
        let sees = Sees {
            types: &types,
            joined: &joined,
            is_timeout: false,
        };
        self.condition = written
            .when
            .as_ref()
            .map(|when| when.get_ref().clone())
            .unwrap_or_default();
        let when = written.when.as_ref().and_then(|when| self.expression(when, &sees));
        let actions = self.actions(&written.actions, &sees);
        let trigger = match &written.join {
            None => Trigger::On(types),
            Some(join) => Trigger::Join(Box::new(self.join(join, joined)?)),
        };
        let (on_timeout, key): (&[Action], Vec<String>) = match &trigger {
            Trigger::On(_) => (&[], Vec::new()),
            Trigger::Join(join) => (&join.on_timeout, join.key.paths()),
        };
        if written.actions.is_empty() && on_timeout.is_empty() {
            self.whole::<()>("found no [[do]], expected what the rule does");
        }
        let paths = actions.iter().flat_map(Action::paths).chain(key);
        let uses_memory = paths
            .chain(when.iter().flat_map(Expression::paths))
            .any(|path| path.starts_with("memory."));
        Some(Rule {
            name: name.to_owned(),
            trigger,
            when,
            actions,
            uses_memory,
        })
    }

    /// The types whose payload is at the top, and those of a join.
    fn types(&mut self, written: &RuleFile) -> Option<(Vec<String>, Vec<String>)> {
        match (&written.on, &written.join) {
            (Some(on), None) => self.known_types(on, true).map(|types| (types, Vec::new())),
            (None, Some(join)) => match (&join.get_ref().all, &join.get_ref().any) {
                (Some(types), None) | (None, Some(types)) => {
                    self.known_types(types, false).map(|types| (types.clone(), types))
                }
                _ => self.at(join.span().start, "expected one of all = [..] and any = [..] in [join]"),
            },
            _ => self.whole("expected one of on = [..] and [join]"),
        }
    }

    fn known_types(&mut self, types: &Spanned<Vec<Spanned<String>>>, with_patterns: bool) -> Option<Vec<String>> {
        if types.get_ref().is_empty() {
            return self.at(types.span().start, "found no event type, expected some");
        }
        let mut known = Vec::new();
        for event_type in types.get_ref() {
            let name = event_type.get_ref();
            if name.contains('*') && !with_patterns {
                self.at::<()>(
                    event_type.span().start,
                    "found a *, expected each type of a join in full",
                );
            } else if !is_pattern(name) || self.known.catalogue.matching(name).is_empty() {
                let message = self.known.catalogue.unknown_type(name);
                self.at::<()>(event_type.span().start, &message);
            } else {
                known.push(name.clone());
            }
        }
        (known.len() == types.get_ref().len()).then_some(known)
    }

    fn join(&mut self, written: &Spanned<JoinFile>, types: Vec<String>) -> Option<Join> {
        let place = written.span().start;
        let written = written.get_ref();
        let mode = if written.all.is_some() {
            JoinMode::All
        } else {
            JoinMode::Any
        };
        if mode == JoinMode::Any && !written.on_timeout.is_empty() {
            self.at::<()>(place, "found on_timeout with any = [..], which waits for nothing");
        }
        let sees = Sees {
            types: &types,
            joined: &[],
            is_timeout: false,
        };
        let key = match &written.key {
            Some(key) => self.expression(key, &sees)?,
            None => self.entity_id()?,
        };
        let sees = Sees {
            types: &[],
            joined: &types,
            is_timeout: true,
        };
        let on_timeout = self.actions(&written.on_timeout, &sees);
        let within = self.duration(&written.within)?;
        Some(Join {
            mode,
            types,
            within,
            key: Content::Expression(key),
            on_timeout,
        })
    }

    fn duration(&mut self, written: &Spanned<String>) -> Option<Duration> {
        let text = written.get_ref();
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            _ => 0,
        };
        let number = text.get(..text.len().saturating_sub(1));
        let seconds = number
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .and_then(|number| number.checked_mul(unit))
            .map(Duration::from_secs);
        match seconds {
            Some(within) if !within.is_zero() && within <= MAX_WITHIN => Some(within),
            _ => {
                let message = format!("found {text:?}, expected a time such as 90s, 15m, 2h or 7d, up to 30d");
                self.at(written.span().start, &message)
            }
        }
    }

    fn fields(
        &mut self,
        written: &BTreeMap<String, Spanned<ContentFile>>,
        sees: &Sees<'_>,
    ) -> Option<Vec<(String, Content)>> {
        let fields: Vec<_> = written
            .iter()
            .filter_map(|(name, content)| Some((name.clone(), self.content(content, sees)?)))
            .collect();
        (fields.len() == written.len()).then_some(fields)
    }

    fn content(&mut self, written: &Spanned<ContentFile>, sees: &Sees<'_>) -> Option<Content> {
        match written.get_ref() {
            ContentFile::Literal(value) => Some(Content::Literal(value.clone())),
            ContentFile::Text(text) => self.text(&Spanned::new(written.span(), text.clone()), sees),
            ContentFile::Array(items) => {
                let compiled: Vec<_> = items.iter().filter_map(|item| self.content(item, sees)).collect();
                (compiled.len() == items.len()).then_some(Content::Array(compiled))
            }
            ContentFile::Table(fields) => self.fields(fields, sees).map(Content::Object),
        }
    }

    fn text(&mut self, written: &Spanned<String>, sees: &Sees<'_>) -> Option<Content> {
        self.compiled(Content::text(written.get_ref()), written, sees)
    }

    fn compiled(
        &mut self,
        compiled: Result<Content, BadSource>,
        written: &Spanned<String>,
        sees: &Sees<'_>,
    ) -> Option<Content> {
        match compiled {
            Ok(content) => self.check_paths(written, &content.paths(), sees).then_some(content),
            Err(error) => self.bad_source(written, &error),
        }
    }

    fn expression(&mut self, written: &Spanned<String>, sees: &Sees<'_>) -> Option<Expression> {
        if let Some((offset, message)) = braces(written.get_ref()) {
            let message = message.to_owned();
            return self.bad_source(written, &BadSource { offset, message });
        }
        match Expression::compile(written.get_ref()) {
            Ok(expression) => self
                .check_paths(written, &expression.paths(), sees)
                .then_some(expression),
            Err(error) => self.bad_source(written, &error),
        }
    }

    fn entity_id(&mut self) -> Option<Expression> {
        Expression::compile("entity_id")
            .map_err(|error| self.whole::<()>(&error.message))
            .ok()
    }

    fn literal(
        &mut self,
        written: &Spanned<String>,
        is_right: impl Fn(&str) -> bool,
        expected: &str,
    ) -> Option<String> {
        if is_right(written.get_ref()) {
            return Some(written.get_ref().clone());
        }
        let message = format!("found {:?}, expected {expected}", written.get_ref());
        self.at(written.span().start, &message)
    }

    fn check_paths(&mut self, written: &Spanned<String>, paths: &[String], sees: &Sees<'_>) -> bool {
        let mut all_known = true;
        for path in paths {
            if let Some(problem) = sees.problem(path, self.known.catalogue) {
                let raw = self.text.get(written.span()).unwrap_or_default();
                let last = path.rsplit('.').next().unwrap_or(path);
                let offset = raw.find(path.as_str()).or_else(|| raw.rfind(last)).unwrap_or(0);
                self.at::<()>(written.span().start + offset, &problem);
                all_known = false;
            } else if sees.may_be_missing(path, self.known.catalogue)
                && !asks_for(path, [written.get_ref().as_str(), self.condition.as_str()])
            {
                let message = format!(
                    "{path} may be missing, and an event without it would fail: ask for it, as in \"{path} is defined\", \
                     or say {path}|default(..)"
                );
                let error = FileError::at(self.file, self.text, written.span().start, message);
                self.errors.push(error.into_warning());
            }
        }
        all_known
    }

    fn bad_source<T>(&mut self, written: &Spanned<String>, error: &BadSource) -> Option<T> {
        let raw = self.text.get(written.span()).unwrap_or_default();
        // A string with escapes does not stand in the file as it is: then its start is told.
        let offset = raw
            .find(written.get_ref().as_str())
            .map_or(0, |start| start + error.offset);
        self.at(written.span().start + offset, &error.message)
    }

    fn at<T>(&mut self, offset: usize, message: &str) -> Option<T> {
        self.errors.push(FileError::at(self.file, self.text, offset, message));
        None
    }

    fn whole<T>(&mut self, message: &str) -> Option<T> {
        self.errors.push(FileError::whole(self.file, message));
        None
    }
}
