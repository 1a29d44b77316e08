//! The gate before a pool: turns that can still be answered in time get a connection first.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Span, debug_span};

use crate::telemetry::SECONDS;
use crate::telemetry::traces::SPANS;

/// Lets as many through as the pool has connections. Who waits is let through by urgency, and the newest first: under
/// overload, whoever has waited longest has the least time left, and serving them in turn would serve everybody late.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// How long those waited that had to.
    waits: Histogram,
    /// How long each that was let through had its connection.
    stays: Histogram,
}

struct State {
    free: usize,
    /// How many have come, as far as they had to wait.
    came: u64,
    /// While somebody waits, nothing is free.
    waiting: BTreeMap<Rank, oneshot::Sender<()>>,
}

/// The greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Urgency, u64);

/// How pressing it is that a turn gets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Its user has heard the slow text.
    Late,
    /// It can be answered in time.
    InTime,
    /// It can be answered in time, and has had a connection: what was done for it would be lost.
    Begun,
}

/// Leave to have a connection; given on when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    since: Instant,
    /// As long as the permit is.
    _span: Span,
}

/// A place in the queue; given up when it is dropped.
pub(crate) struct Waiting {
    gate: Arc<Gate>,
    rank: Rank,
    since: Instant,
    granted: oneshot::Receiver<()>,
}

/// Who waited has been sent away, for their place is needed.
#[derive(Debug)]
pub(crate) struct Shed;

impl Gate {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: permits,
                came: 0,
                waiting: BTreeMap::new(),
            }),
            waits: Histogram::new(SECONDS),
            stays: Histogram::new(SECONDS),
        })
    }

    /// Lets through at once when something is free, else by way of the queue.
    pub(crate) fn enter(self: &Arc<Self>, urgency: Urgency) -> Result<Permit, Waiting> {
        let mut state = self.state();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Permit::of(self));
        }
        state.came += 1;
        let rank = Rank(urgency, state.came);
        let (sender, granted) = oneshot::channel();
        state.waiting.insert(rank, sender);
        Err(Waiting {
            gate: Arc::clone(self),
            rank,
            since: Instant::now(),
            granted,
        })
    }

    /// Sends away the late turn that has waited longest; false when none waits.
    pub(crate) fn shed(&self) -> bool {
        let mut state = self.state();
        let last = state.waiting.first_entry();
        match last.filter(|last| last.key().0 == Urgency::Late) {
            Some(last) => {
                last.remove();
                true
            }
            None => false,
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// How long those waited that had to.
    pub(crate) fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// How long each that was let through had its connection.
    pub(crate) fn stays(&self) -> &Histogram {
        &self.stays
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_on(&mut self) {
        while let Some((_, next)) = self.waiting.pop_last() {
            if next.send(()).is_ok() {
                return;
            }
        }
        self.free += 1;
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free, {} waiting", self.free, self.waiting.len())
    }
}

impl Permit {
    fn of(gate: &Arc<Gate>) -> Self {
        Self {
            gate: Arc::clone(gate),
            since: Instant::now(),
            _span: debug_span!(target: SPANS, "database"),
        }
    }
}

impl Waiting {
    /// Waits to be let through. May be dropped and called again.
    pub(crate) async fn granted(&mut self) -> Result<Permit, Shed> {
        match (&mut self.granted).await {
            Ok(()) => Ok(Permit::of(&self.gate)),
            Err(_) => Err(Shed),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        // Let through just when it gave up: that is for the next.
        if state.waiting.remove(&self.rank).is_none() && self.granted.try_recv().is_ok() {
            state.give_on();
        }
        drop(state);
        self.gate.waits.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.state().give_on();
        self.gate.stays.observe(self.since.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Enters, and must wait.
    fn wait(gate: &Arc<Gate>, urgency: Urgency) -> Waiting {
        let Err(waiting) = gate.enter(urgency) else {
            panic!("nothing is free")
        };
        waiting
    }

    fn is_let_through(waiting: &mut Waiting) -> Option<Permit> {
        waiting.granted().now_or_never().map(|granted| granted.unwrap())
    }

    #[test]
    fn begun_turns_go_first_then_the_newest_in_time_then_the_newest_late_one() {
        let gate = Gate::new(1);
        let Ok(mut permit) = gate.enter(Urgency::Late) else {
            panic!("one is free")
        };
        let order = [
            Urgency::Late,
            Urgency::InTime,
            Urgency::Begun,
            Urgency::Late,
            Urgency::InTime,
        ];
        let mut waiting = order.map(|urgency| Some(wait(&gate, urgency)));
        for next in [2, 4, 1, 3, 0] {
            drop(permit);
            let mut granted = Vec::new();
            for (at, place) in waiting.iter_mut().enumerate() {
                if let Some(permit) = place.as_mut().and_then(is_let_through) {
                    *place = None;
                    granted.push((at, permit));
                }
            }
            let [(at, now)] = <[_; 1]>::try_from(granted).unwrap();
            assert_eq!(at, next);
            permit = now;
        }
    }

    #[test]
    fn permit_is_never_lost_whoever_gives_up() {
        let gate = Gate::new(1);
        let permit = gate.enter(Urgency::InTime).ok().unwrap();
        let gone = wait(&gate, Urgency::Begun);
        let granted = wait(&gate, Urgency::InTime);
        let mut last = wait(&gate, Urgency::Late);
        drop(gone);
        // To the one in time, which has not looked yet when it gives up.
        drop(permit);
        assert!(is_let_through(&mut last).is_none());
        drop(granted);
        let permit = is_let_through(&mut last).unwrap();
        drop(last);
        drop(permit);
        assert_eq!(format!("{:?}", gate.state()), "1 free, 0 waiting");
    }

    #[test]
    fn only_late_turns_are_sent_away_the_longest_waiting_first() {
        let gate = Gate::new(1);
        let _permit = gate.enter(Urgency::InTime).ok().unwrap();
        let mut in_time = wait(&gate, Urgency::InTime);
        assert!(!gate.shed());
        let (mut first, mut second) = (wait(&gate, Urgency::Late), wait(&gate, Urgency::Late));
        assert!(gate.shed());
        assert!(matches!(first.granted().now_or_never(), Some(Err(Shed))));
        assert!(second.granted().now_or_never().is_none());
        assert!(gate.shed() && !gate.shed());
        assert!(in_time.granted().now_or_never().is_none());
    }
}
