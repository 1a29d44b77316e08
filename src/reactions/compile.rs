//! From a rule's file to a rule: all that can be known to be wrong is found here, with its place.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::checker::{Checker, Known};
use super::content::Content;
use super::effects::{Action, ActionFile};
use super::rule::{Join, JoinMode, Rule, Trigger};
use super::rule_file::{JoinFile, RuleFile};
use super::sees::Sees;
use crate::event::event_type::EventType;
use crate::event::file::{self, FileError};
use crate::event::pattern::Pattern;
use crate::expression::Expression;

/// A join waits at most so long.
const MAX_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Compiles the `text` of the rule `name`, and adds what is wrong with it to `errors`.
pub(super) fn rule(name: &str, file: &Path, text: &str, known: Known<'_>, errors: &mut Vec<FileError>) -> Option<Rule> {
    let written: RuleFile = match file::toml(file, text) {
        Ok(written) => written,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut checker = Checker {
        file,
        text,
        known,
        condition: String::new(),
        errors: Vec::new(),
    };
    let rule = checked(&mut checker, name, written);
    let rule = rule.filter(|_| !checker.errors.iter().any(FileError::is_error));
    errors.append(&mut checker.errors);
    rule
}

fn checked(checker: &mut Checker<'_>, name: &str, written: RuleFile) -> Option<Rule> {
    let (types, joined) = types(checker, &written)?;
    let sees = Sees {
        types: &types,
        joined: &joined,
        is_timeout: false,
    };
    checker.condition = written
        .when
        .as_ref()
        .map(|when| when.get_ref().clone())
        .unwrap_or_default();
    let when = written.when.as_ref().and_then(|when| checker.expression(when, &sees));
    let actions = actions(checker, &written.actions, &sees);
    let trigger = match &written.join {
        None => Trigger::On(types),
        Some(written) => Trigger::Join(Box::new(join(checker, written, joined)?)),
    };
    let (on_timeout, key): (&[Action], Vec<String>) = match &trigger {
        Trigger::On(_) => (&[], Vec::new()),
        Trigger::Join(join) => (&join.on_timeout, join.key.paths()),
    };
    if written.actions.is_empty() && on_timeout.is_empty() {
        checker.whole::<()>("found no [[do]], expected what the rule does");
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

fn actions(checker: &mut Checker<'_>, written: &[ActionFile], sees: &Sees<'_>) -> Vec<Action> {
    let actions = written.iter().filter_map(|action| action.check(checker, sees));
    actions.collect()
}

/// The types whose payload is at the top, and those of a join.
fn types(checker: &mut Checker<'_>, written: &RuleFile) -> Option<(Vec<Pattern>, Vec<EventType>)> {
    match (&written.on, &written.join) {
        (Some(on), None) => known_types(checker, on, true).map(|patterns| (patterns, Vec::new())),
        (None, Some(join)) => match (&join.get_ref().all, &join.get_ref().any) {
            (Some(types), None) | (None, Some(types)) => {
                let patterns = known_types(checker, types, false)?;
                let joined = patterns.iter().filter_map(Pattern::one).cloned().collect();
                Some((patterns, joined))
            }
            _ => checker.at(join.span().start, "expected one of all = [..] and any = [..] in [join]"),
        },
        _ => checker.whole("expected one of on = [..] and [join]"),
    }
}

fn known_types(
    checker: &mut Checker<'_>,
    types: &Spanned<Vec<Spanned<String>>>,
    with_patterns: bool,
) -> Option<Vec<Pattern>> {
    if types.get_ref().is_empty() {
        return checker.at(types.span().start, "found no event type, expected some");
    }
    let mut known = Vec::new();
    for event_type in types.get_ref() {
        let (name, at) = (event_type.get_ref(), event_type.span().start);
        if name.contains('*') && !with_patterns {
            checker.at::<()>(at, "found a *, expected each type of a join in full");
            continue;
        }
        let catalogue = checker.known.catalogue;
        match Pattern::parse(name).filter(|pattern| !catalogue.matching(pattern).is_empty()) {
            Some(pattern) => known.push(pattern),
            None => {
                checker.at::<()>(at, &catalogue.unknown_type(name));
            }
        }
    }
    (known.len() == types.get_ref().len()).then_some(known)
}

fn join(checker: &mut Checker<'_>, written: &Spanned<JoinFile>, types: Vec<EventType>) -> Option<Join> {
    let place = written.span().start;
    let written = written.get_ref();
    let mode = if written.all.is_some() {
        JoinMode::All
    } else {
        JoinMode::Any
    };
    if mode == JoinMode::Any && !written.on_timeout.is_empty() {
        checker.at::<()>(place, "found on_timeout with any = [..], which waits for nothing");
    }
    let patterns: Vec<Pattern> = types.iter().cloned().map(Pattern::One).collect();
    let sees = Sees {
        types: &patterns,
        joined: &[],
        is_timeout: false,
    };
    let key = match &written.key {
        Some(key) => checker.expression(key, &sees)?,
        None => checker.entity_id()?,
    };
    let sees = Sees {
        types: &[],
        joined: &types,
        is_timeout: true,
    };
    let on_timeout = actions(checker, &written.on_timeout, &sees);
    let within = duration(checker, &written.within)?;
    Some(Join {
        mode,
        types,
        within,
        key: Content::Expression(key),
        on_timeout,
    })
}

fn duration(checker: &mut Checker<'_>, written: &Spanned<String>) -> Option<Duration> {
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
            checker.at(written.span().start, &message)
        }
    }
}
