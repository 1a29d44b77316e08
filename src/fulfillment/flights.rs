//! Turns that are being answered, and for a while those that have been: each turn is started once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handler::{Awaited, Identity};
use crate::idempotency::key::Hash;

/// How long a reply stands ready for a turn that comes again; Dialogflow's own retries come within seconds.
const REPLAY_WINDOW: Duration = Duration::from_secs(300);

/// How much memory replies that stand ready may take, in bytes; the oldest go first.
const REPLAY_MEMORY: usize = 8 * 1024 * 1024;

/// What an entry takes beside its reply.
const ENTRY: usize = 256;

/// So many turns are looked up at once without waiting for each other.
const SHARDS: usize = 16;

/// What goes back to the platform.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    /// The handler's reply as JSON, which the same turn gets again.
    Reply(Bytes),
    /// What the user hears instead of one, as JSON.
    Instead(Bytes),
    /// A status: the intent leaves what the user hears to the platform.
    Failed,
}

/// All turns, by their content.
pub(super) struct Flights([Mutex<Shard>; SHARDS]);

#[derive(Default)]
struct Shard {
    turns: HashMap<Hash, Flight>,
    /// The done ones, oldest first; one that was done anew stands here twice.
    done: VecDeque<(Instant, Hash)>,
    bytes: usize,
}

enum Flight {
    Running(Running),
    Done {
        at: Instant,
        response_id: Box<str>,
        reply: Bytes,
    },
}

/// A turn that is being answered.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) answer: Shared<oneshot::Receiver<Answered>>,
    pub(super) progress: Arc<Progress>,
    pub(super) awaited: Awaited,
    /// What the handler has read of the user's identity.
    pub(super) identity: Identity,
}

/// Whether somebody still waits for a handler; decides in one step who delivers a reply that comes at the deadline.
#[derive(Default)]
pub(super) struct Progress(AtomicU8);

/// What to do for a turn.
pub(super) enum Claim {
    /// Run it, and tell those who join it by the sender.
    Start(Running, oneshot::Sender<Answered>),
    /// Wait for its run.
    Join(Running),
    /// Give its reply again.
    Replay(Bytes),
    /// Nothing: it is new, and there is no place for it.
    Full,
}

impl Answered {
    /// The handler's reply, where it is one.
    pub(super) fn reply(&self) -> Option<&Bytes> {
        match self {
            Self::Reply(body) => Some(body),
            Self::Instead(_) | Self::Failed => None,
        }
    }
}

impl Flights {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }

    /// Claims the turn, in one step, so that of two that come at once one starts it. A reply is given again to the
    /// same response id only; without one there is no telling.
    pub(super) fn claim(&self, turn: &Hash, response_id: &str, has_place: bool) -> Claim {
        let mut shard = self.shard(turn);
        match shard.turns.get(turn) {
            // A run that is gone without an answer is none.
            Some(Flight::Running(running)) if !matches!(running.answer.clone().now_or_never(), Some(Err(_))) => {
                return Claim::Join(running.clone());
            }
            Some(Flight::Done {
                at,
                response_id: id,
                reply,
            }) if !id.is_empty() && **id == *response_id && at.elapsed() < REPLAY_WINDOW => {
                return Claim::Replay(reply.clone());
            }
            Some(Flight::Running(_) | Flight::Done { .. }) | None => {}
        }
        if !has_place {
            return Claim::Full;
        }
        let (sender, answer) = oneshot::channel();
        let running = Running {
            answer: answer.shared(),
            progress: Arc::default(),
            awaited: Awaited::default(),
            identity: Identity::default(),
        };
        shard.put(*turn, Flight::Running(running.clone()));
        Claim::Start(running, sender)
    }

    /// The turn has been answered. What is no reply is not given again: the turn may fare better next time.
    pub(super) fn finish(&self, turn: &Hash, response_id: &str, answered: &Answered) {
        let mut shard = self.shard(turn);
        match answered.reply() {
            Some(reply) => shard.keep(*turn, response_id, reply),
            None => shard.remove(turn),
        }
    }

    /// The turn was given the reply of another's run, and is given it again. A run of its own goes on undisturbed.
    pub(super) fn give(&self, turn: &Hash, response_id: &str, reply: &Bytes) {
        let mut shard = self.shard(turn);
        if !matches!(shard.turns.get(turn), Some(Flight::Running(_))) {
            shard.keep(*turn, response_id, reply);
        }
    }

    fn shard(&self, turn: &Hash) -> MutexGuard<'_, Shard> {
        self.0[usize::from(turn[0]) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Lets a reply stand ready.
    fn keep(&mut self, turn: Hash, response_id: &str, reply: &Bytes) {
        let at = Instant::now();
        self.put(
            turn,
            Flight::Done {
                at,
                response_id: response_id.into(),
                reply: reply.clone(),
            },
        );
        self.done.push_back((at, turn));
        self.forget_oldest();
    }

    fn put(&mut self, turn: Hash, flight: Flight) {
        self.bytes += flight.weight();
        if let Some(old) = self.turns.insert(turn, flight) {
            self.bytes -= old.weight();
        }
    }

    fn remove(&mut self, turn: &Hash) {
        if let Some(old) = self.turns.remove(turn) {
            self.bytes -= old.weight();
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((at, turn)) = self.done.front().copied()
            && (at.elapsed() >= REPLAY_WINDOW || self.bytes > REPLAY_MEMORY / SHARDS)
        {
            self.done.pop_front();
            // Not where it runs again, or was done anew.
            if matches!(self.turns.get(&turn), Some(Flight::Done { at: done, .. }) if *done == at) {
                self.remove(&turn);
            }
        }
    }
}

impl Flight {
    fn weight(&self) -> usize {
        match self {
            Self::Running(_) => 0,
            Self::Done { response_id, reply, .. } => ENTRY + response_id.len() + reply.len(),
        }
    }
}

impl Progress {
    const AWAITED: u8 = 0;
    const LATE: u8 = 1;
    const FINISHED: u8 = 2;

    /// The user hears the slow text; false when the reply is there after all.
    pub(super) fn give_up(&self) -> bool {
        match self
            .0
            .compare_exchange(Self::AWAITED, Self::LATE, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) | Err(Self::LATE) => true,
            Err(_) => false,
        }
    }

    /// The reply is there; true when the user has heard the slow text.
    pub(super) fn finish(&self) -> bool {
        self.0.swap(Self::FINISHED, Ordering::AcqRel) == Self::LATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: usize) -> Answered {
        Answered::Reply(body(bytes))
    }

    fn body(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    fn hash(n: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        hash
    }

    #[tokio::test]
    async fn of_two_that_come_at_once_one_starts_and_one_joins() {
        let flights = Flights::new();
        let Claim::Start(_, sender) = flights.claim(&hash(1), "r", true) else {
            panic!("the first starts")
        };
        let Claim::Join(joined) = flights.claim(&hash(1), "other id", false) else {
            panic!("the second joins")
        };
        flights.finish(&hash(1), "r", &reply(3));
        sender.send(reply(3)).unwrap();
        assert_eq!(joined.answer.await.unwrap().reply().unwrap().len(), 3);
        assert!(matches!(flights.claim(&hash(1), "r", false), Claim::Replay(_)));
        assert!(matches!(flights.claim(&hash(1), "other id", true), Claim::Start(..)));
    }

    #[tokio::test]
    async fn run_that_is_gone_or_has_failed_is_started_anew() {
        let flights = Flights::new();
        drop(flights.claim(&hash(1), "r", true));
        assert!(matches!(flights.claim(&hash(1), "r", true), Claim::Start(..)));
        flights.finish(&hash(1), "r", &Answered::Failed);
        assert!(matches!(flights.claim(&hash(1), "r", true), Claim::Start(..)));
        assert!(matches!(flights.claim(&hash(2), "r", false), Claim::Full));
    }

    #[test]
    fn reply_given_to_one_who_waited_ends_no_later_run() {
        let flights = Flights::new();
        let Claim::Start(_, _sender) = flights.claim(&hash(1), "r", true) else {
            panic!("it starts")
        };
        flights.give(&hash(1), "other id", &body(3));
        assert!(matches!(flights.claim(&hash(1), "r", true), Claim::Join(_)));
        flights.finish(&hash(1), "r", &Answered::Failed);
        flights.give(&hash(1), "other id", &body(3));
        assert!(matches!(flights.claim(&hash(1), "other id", true), Claim::Replay(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn reply_is_forgotten_after_its_window_and_when_memory_is_full() {
        let flights = Flights::new();
        flights.finish(&hash(1), "r", &reply(3));
        tokio::time::advance(REPLAY_WINDOW).await;
        assert!(matches!(flights.claim(&hash(1), "r", true), Claim::Start(..)));
        for n in 0..10_000 {
            flights.finish(&hash(n), "r", &reply(8 * 1024));
        }
        let kept: usize = flights.0.iter().map(|shard| shard.lock().unwrap().bytes).sum();
        assert!(kept <= REPLAY_MEMORY && kept > REPLAY_MEMORY / 2, "{kept} bytes kept");
        let listed: usize = flights.0.iter().map(|shard| shard.lock().unwrap().done.len()).sum();
        assert!(listed < 1_100, "{listed} listed");
    }
}
