//! The list, ready for dispatch: which intent answers a turn.

use std::collections::HashMap;
use std::sync::Arc;

use super::intent::{By, Intent};
use crate::nearest::nearest;
use crate::turn::{Api, Turn};

/// The list, ready for dispatch.
pub(crate) struct Routes {
    pub(super) intents: Vec<Arc<Intent>>,
    pub(super) by_name: HashMap<By, HashMap<Box<str>, usize>>,
}

impl Routes {
    /// The intent that answers `turn`.
    ///
    /// In CX by tag (also where it is the name of an intent), intent, event; in ES by intent, action, event (whose name ES
    /// puts into the query text); else the fallback.
    pub(crate) fn find(&self, turn: &Turn) -> Option<&Arc<Intent>> {
        let by_tag = || self.named(By::Tag, &turn.tag);
        let by_intent = || self.named(By::Intent, &turn.intent);
        let matched = match turn.api {
            Api::CxV3 => by_tag()
                // A form may be filled in turns that match no intent, or another one.
                .or_else(|| self.named(By::Intent, &turn.tag))
                .or_else(by_intent)
                .or_else(|| self.named(By::Event, &turn.event)),
            Api::EsV2 | Api::EsV2beta1 => by_intent()
                .or_else(|| self.named(By::Action, &turn.action))
                // A text that matched no intent is what a user said, though it be the name of an event.
                .or_else(|| self.named(By::Event, &turn.text).filter(|_| !turn.is_fallback)),
        };
        matched.or_else(|| self.at(By::Fallback, ""))
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
