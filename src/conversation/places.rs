//! How many streams somebody has open at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The streams that are open, by whose they are. Only those who have one are known.
pub(super) struct Places<K> {
    most: usize,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

/// One open stream, until it is dropped.
pub(super) struct Place<K: Eq + Hash> {
    whose: K,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// So many for each at most.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// A place for one more; `None` where there are as many as there may be.
    pub(super) fn take(&self, whose: K) -> Option<Place<K>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&whose).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        open.insert(whose.clone(), count + 1);
        Some(Place {
            whose,
            open: Arc::clone(&self.open),
        })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.whose) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.remove(&self.whose)),
        }
    }
}
