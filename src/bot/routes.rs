//! The list, ready for dispatch: which intent answers a turn.

use std::collections::HashMap;
use std::sync::Arc;

use super::intent::{By, Intent};
use crate::nearest::nearest;
use crate::platform;
use crate::turn::Turn;

/// The list, ready for dispatch.
pub(crate) struct Routes {
    pub(super) intents: Vec<Arc<Intent>>,
    pub(super) by_name: HashMap<By, HashMap<Box<str>, usize>>,
}

impl Routes {
    /// The intent that answers `turn`.
    ///
    /// By tag (also where it is the name of an intent), by intent, by action, by event; else the fallback. Turns of ES
    /// have no tag, those of CX no action.
    pub(crate) fn find(&self, turn: &Turn) -> Option<&Arc<Intent>> {
        self.named(By::Tag, &turn.tag)
            // A form may be filled in turns that match no intent, or another one.
            .or_else(|| self.named(By::Intent, &turn.tag))
            .or_else(|| self.named(By::Intent, &turn.intent))
            .or_else(|| self.named(By::Action, &turn.action))
            .or_else(|| self.named(By::Event, platform::event(turn)))
            .or_else(|| self.at(By::Fallback, ""))
    }

    /// The name in the list that `name` may be meant for.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.intents.iter().map(|intent| intent.name.as_str()))
    }

    fn named(&self, by: By, name: &str) -> Option<&Arc<Intent>> {
        if name.is_empty() { None } else { self.at(by, name) }
    }

    fn at(&self, by: By, name: &str) -> Option<&Arc<Intent>> {
        self.by_name.get(&by)?.get(name).map(|at| &self.intents[*at])
    }
}
