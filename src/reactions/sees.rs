//! Which variables the expressions of a rule can read, and whether a schema has them.

use crate::event::catalogue::Catalogue;
use crate::event::event_type::EventType;
use crate::event::file::instead_of_method;
use crate::event::pattern::Pattern;
use crate::expression::with_dots;
use crate::nearest::did_you_mean;

/// Which variables there are.
pub(crate) struct Sees<'a> {
    /// Types whose payload is at the top; empty when a join's time is over.
    pub(super) types: &'a [Pattern],
    /// Types of a join whose events have come.
    pub(super) joined: &'a [EventType],
    pub(super) is_timeout: bool,
}

impl Sees<'_> {
    /// What is wrong with a path that an expression reads.
    pub(super) fn problem(&self, path: &str, catalogue: &Catalogue) -> Option<String> {
        let segments: Vec<&str> = path.split('.').collect();
        let (first, rest) = segments.split_first()?;
        match *first {
            "entity_id" => only_a_text(path, rest),
            "event_id" | "event_type" | "user_id" | "source" | "timestamp" if !self.is_timeout => {
                only_a_text(path, rest)
            }
            "payload" if !self.is_timeout => self.types.iter().find_map(|pattern| {
                let mut types = catalogue.matching(pattern).into_iter();
                types.find_map(|event_type| unknown_path(path, &event_type, &segments, catalogue))
            }),
            "memory" if !self.is_timeout && rest.is_empty() => {
                Some("found memory as a whole, expected a fact, such as memory.status".to_owned())
            }
            "memory" if !self.is_timeout => None,
            "key" if self.is_timeout => only_a_text(path, rest),
            "missing" if self.is_timeout => None,
            "events" if rest.is_empty() && !self.joined.is_empty() => None,
            "events" if !self.joined.is_empty() => self.event_problem(path, &rest.join("."), catalogue),
            _ => Some(format!("found {path}, expected one of {}", self.names())),
        }
    }

    /// Whether an event may come without what a path reads. Of what has not come when a join's time is over nothing is said.
    pub(super) fn may_be_missing(&self, path: &str, catalogue: &Catalogue) -> bool {
        let segments: Vec<&str> = path.split('.').collect();
        match segments.as_slice() {
            _ if self.is_timeout => false,
            ["user_id"] => true,
            ["payload", ..] => self.types.iter().any(|pattern| {
                let mut types = catalogue.matching(pattern).into_iter();
                types.any(|event_type| catalogue.is_optional(&event_type, &segments))
            }),
            ["events", ..] => self.joined.iter().any(|event_type| {
                let field = path
                    .strip_prefix("events.")
                    .and_then(|rest| rest.strip_prefix(event_type.as_str()));
                let field: Vec<&str> = field.unwrap_or_default().split('.').skip(1).collect();
                field == ["user_id"] || catalogue.is_optional(event_type, &field)
            }),
            _ => false,
        }
    }

    /// What is wrong with what stands after `events.`.
    fn event_problem(&self, path: &str, rest: &str, catalogue: &Catalogue) -> Option<String> {
        let joined = self.joined.iter().find_map(|event_type| {
            let after = rest.strip_prefix(event_type.as_str())?;
            let is_whole = after.is_empty() || after.starts_with('.');
            is_whole.then_some((event_type, after.strip_prefix('.')))
        });
        let Some((event_type, field)) = joined else {
            return Some(format!(
                "found {path}, expected events[..] of one of {}",
                self.joined.iter().map(EventType::as_str).collect::<Vec<_>>().join(", ")
            ));
        };
        let segments: Vec<&str> = field?.split('.').collect();
        match segments.as_slice() {
            ["payload", ..] => unknown_path(path, event_type, &segments, catalogue),
            ["event_id" | "event_type" | "entity_id" | "user_id" | "timestamp"] => None,
            _ => Some(format!(
                "found {path}, expected payload, event_id, event_type, entity_id, user_id or timestamp of the event"
            )),
        }
    }

    fn names(&self) -> &'static str {
        match (self.is_timeout, self.joined.is_empty()) {
            (true, _) => "entity_id, key, missing and events",
            (false, true) => "event_id, event_type, entity_id, user_id, source, timestamp, payload and memory",
            (false, false) => "event_id, event_type, entity_id, user_id, source, timestamp, payload, memory and events",
        }
    }
}

/// Whether one of the sources asks whether there is something at `path`, or at what it is part of, or says what stands
/// for it.
pub(super) fn asks_for<const N: usize>(path: &str, sources: [&str; N]) -> bool {
    let sources = sources.map(with_dots);
    let parts = path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]);
    let asks = |part: &str, source: &str| {
        source.match_indices(part).any(|(at, _)| {
            let words: Vec<&str> = source[at + part.len()..].split_whitespace().take(4).collect();
            let after = words.join(" ");
            let is = after
                .strip_prefix("is ")
                .map(|test| test.strip_prefix("not ").unwrap_or(test));
            let filter = after.strip_prefix('|').map(str::trim_start);
            let filter = filter.map(|filter| filter.split(['(', ' ', '|', '}']).next().unwrap_or_default());
            is.is_some_and(|test| test.starts_with("defined") || test.starts_with("undefined"))
                || filter.is_some_and(|filter| matches!(filter, "default" | "d"))
        })
    };
    let mut parts = parts.filter(|part| !matches!(*part, "payload" | "events"));
    parts.any(|part| sources.iter().any(|source| asks(part, source)))
}

fn only_a_text(path: &str, rest: &[&str]) -> Option<String> {
    (!rest.is_empty()).then(|| format!("found {path}, which has no properties"))
}

fn unknown_path(path: &str, event_type: &str, segments: &[&str], catalogue: &Catalogue) -> Option<String> {
    let latest = catalogue.latest(event_type)?;
    if catalogue.has_path(event_type, segments) {
        return None;
    }
    let (last, before) = segments.split_last()?;
    if let Some(filter) = instead_of_method(last).filter(|_| catalogue.has_path(event_type, before)) {
        let value = path.strip_suffix(*last)?.trim_end_matches('.');
        let space = if filter.starts_with('|') { "" } else { " " };
        return Some(format!(
            "found {path}, but there are no methods, expected {value}{space}{filter}"
        ));
    }
    let meant = did_you_mean(last, catalogue.properties(event_type, before));
    Some(format!(
        "found {path}, which the schema of {event_type} (version {latest}) does not have{meant}"
    ))
}
