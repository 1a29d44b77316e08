//! Which types are meant: one, or a family.

use std::fmt::{self, Display};

use super::event_type::EventType;

/// What a pattern is, for error messages.
pub(crate) const EXPECTED: &str =
    "lower-case words of [a-z0-9_-], separated by full stops, at most 250 bytes, and maybe a * at the end";

/// What files list where types are meant: a type, or the beginning of types and a `*`: `github.*`, `order.ship*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This type.
    One(EventType),
    /// The types that begin so.
    Family(String),
}

impl Pattern {
    /// The pattern that is written so; none where it is neither a type nor a family.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return EventType::parse(text.to_owned()).ok().map(Self::One);
        };
        let whole = prefix.strip_suffix('.').unwrap_or(prefix);
        let is_family = prefix.is_empty() || EventType::parse(whole.to_owned()).is_ok();
        is_family.then(|| Self::Family(prefix.to_owned()))
    }

    /// Its type, where it is one.
    pub(crate) fn one(&self) -> Option<&EventType> {
        match self {
            Self::One(one) => Some(one),
            Self::Family(_) => None,
        }
    }

    /// Whether it stands for a type.
    pub(crate) fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == event_type,
            Self::Family(prefix) => event_type.starts_with(prefix.as_str()),
        }
    }

    /// Whether all types that it stands for begin so.
    pub(crate) fn is_within(&self, prefix: &str) -> bool {
        match self {
            Self::One(one) => one.starts_with(prefix),
            Self::Family(own) => own.starts_with(prefix),
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => f.write_str(one),
            Self::Family(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn pattern_is_a_type_or_ends_in_a_star() {
        for text in ["order", "order.shipped", "*", "order.*", "order.ship*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        for text in ["", "order.", "**", "*.shipped", ".*", "order..*", "Order.*"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn family_has_the_types_that_begin_like_it() {
        assert!(
            pattern("order.*").matches("order.shipped") && pattern("*").matches("x") && pattern("a.b").matches("a.b")
        );
        assert!(!pattern("order.*").matches("orders.x") && !pattern("a.b").matches("a.b.c"));
    }
}
