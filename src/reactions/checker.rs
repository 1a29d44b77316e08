//! Checks what stands in a rule's file, and notes what is wrong with it, with its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::content::{Content, ContentFile};
use super::sees::{Sees, asks_for};
use crate::event::catalogue::Catalogue;
use crate::event::file::{FileError, braces};
use crate::expression::{BadSource, Expression};

/// What a rule may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Types and their schemas.
    pub(super) catalogue: &'a Arc<Catalogue>,
    /// Actions written in Rust.
    pub(super) run_names: &'a [&'a str],
    /// Names of `events/channels`; `chat` is one without a file.
    pub(super) channels: &'a [String],
}

/// Checks one file. Methods that find something wrong note it in `errors` and return none.
pub(crate) struct Checker<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    pub(super) known: Known<'a>,
    /// What `when` asks before anything else is evaluated.
    pub(super) condition: String,
    pub(super) errors: Vec<FileError>,
}

impl Checker<'_> {
    pub(super) fn fields(
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

    pub(super) fn content(&mut self, written: &Spanned<ContentFile>, sees: &Sees<'_>) -> Option<Content> {
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

    pub(super) fn text(&mut self, written: &Spanned<String>, sees: &Sees<'_>) -> Option<Content> {
        self.compiled(Content::text(written.get_ref()), written, sees)
    }

    pub(super) fn compiled(
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

    pub(super) fn expression(&mut self, written: &Spanned<String>, sees: &Sees<'_>) -> Option<Expression> {
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

    pub(super) fn entity_id(&mut self) -> Option<Expression> {
        Expression::compile("entity_id")
            .map_err(|error| self.whole::<()>(&error.message))
            .ok()
    }

    pub(super) fn literal(
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

    pub(super) fn at<T>(&mut self, offset: usize, message: &str) -> Option<T> {
        self.errors.push(FileError::at(self.file, self.text, offset, message));
        None
    }

    pub(super) fn whole<T>(&mut self, message: &str) -> Option<T> {
        self.errors.push(FileError::whole(self.file, message));
        None
    }
}
