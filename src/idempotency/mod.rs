//! The same turn again: what makes two requests one turn, or one question, and what was committed for it.

pub(crate) mod key;
pub(crate) mod record;
