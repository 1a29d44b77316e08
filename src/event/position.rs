//! Where an event stands in the log.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Where an event stands in the log: positions grow in the order in which events were stored, with gaps, over all partitions.
/// The default is before the first. (A conversation's stream counts for itself.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub(crate) struct Position(i64);

impl Position {
    /// Behind all.
    pub(crate) const LAST: Self = Self(i64::MAX);

    /// Those of these numbers.
    pub(crate) fn all(numbers: Vec<i64>) -> Vec<Self> {
        numbers.into_iter().map(Self).collect()
    }

    /// Its number.
    pub(crate) fn number(self) -> i64 {
        self.0
    }
}

/// As a table has it.
impl From<i64> for Position {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
