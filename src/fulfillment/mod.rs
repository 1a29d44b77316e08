//! One turn, from the request's bytes to the reply's: always in time, and each turn once.

mod key;
mod late;
pub(crate) mod record;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use moka::ops::compute::{CompResult, Op};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, warn};

pub(crate) use self::key::TurnKey;
use self::late::Late;
use crate::bot::{Intent, Routes};
use crate::config::TurnSettings;
use crate::dialogflow::{self, NotATurn};
use crate::fail;
use crate::handler::Services;
use crate::lang::Lang;
use crate::reply::{Answer, Reply};
use crate::telemetry::Metrics;
use crate::turn::{Api, Turn};

/// How long a reply stands ready for a turn that comes again; Dialogflow's own retries come within seconds.
const REPLAY_WINDOW: Duration = Duration::from_secs(300);

/// How much memory replies that stand ready may take, in bytes.
const REPLAY_MEMORY: u64 = 8 * 1024 * 1024;

/// What goes back to the platform.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The reply's JSON; `None` where the intent fails with a status instead.
    pub body: Option<Bytes>,
}

/// Why a request is not answered as a turn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It is none.
    #[error(transparent)]
    NotATurn(#[from] NotATurn),
    /// No handler, and no fallback.
    #[error("{field}: found {found:?}, expected a name that the bot has a handler for (it has no fallback)")]
    NoHandler {
        /// Path of the field that names the intent.
        field: &'static str,
        /// What it says.
        found: String,
    },
}

/// Answers turns.
pub(crate) struct Fulfillment {
    routes: Routes,
    services: Arc<Services>,
    settings: TurnSettings,
    metrics: Metrics,
    runtime: Handle,
    flights: moka::future::Cache<key::Hash, Flight>,
    late: Late,
    places: Arc<Semaphore>,
}

/// A turn that is being answered, or has been.
#[derive(Clone)]
enum Flight {
    Running(Running),
    Done { response_id: Arc<str>, answered: Answered },
}

#[derive(Clone)]
struct Running {
    answer: Shared<BoxFuture<'static, Answered>>,
    progress: Arc<Progress>,
}

/// Whether somebody still waits for a handler; decides in one step who delivers a reply that comes at the deadline.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    const AWAITED: u8 = 0;
    const LATE: u8 = 1;
    const FINISHED: u8 = 2;

    /// The user hears the slow text; false when the reply is there after all.
    fn give_up(&self) -> bool {
        match self
            .0
            .compare_exchange(Self::AWAITED, Self::LATE, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) | Err(Self::LATE) => true,
            Err(_) => false,
        }
    }

    /// The reply is there; true when the user has heard the slow text.
    fn finish(&self) -> bool {
        self.0.swap(Self::FINISHED, Ordering::AcqRel) == Self::LATE
    }
}

impl Fulfillment {
    /// `runtime` runs the handlers, apart from the threads that serve connections.
    pub(crate) fn new(
        routes: Routes,
        services: Arc<Services>,
        settings: TurnSettings,
        metrics: Metrics,
        runtime: Handle,
    ) -> Arc<Self> {
        let weigh = |_: &key::Hash, flight: &Flight| match flight {
            Flight::Running(_) => 512,
            Flight::Done { response_id, answered } => {
                u32::try_from(256 + response_id.len() + answered.body.as_ref().map_or(0, Bytes::len))
                    .unwrap_or(u32::MAX)
            }
        };
        let flights = moka::future::Cache::builder()
            .max_capacity(REPLAY_MEMORY)
            .weigher(weigh)
            .time_to_live(REPLAY_WINDOW)
            .build();
        let late = Late::new(services.database.clone(), services.clock.clone(), settings.late_ttl());
        let places = Arc::new(Semaphore::new(settings.turns_in_flight));
        Arc::new(Self {
            routes,
            services,
            settings,
            metrics,
            runtime,
            flights,
            late,
            places,
        })
    }

    /// Answers the request that arrived at `arrived`.
    ///
    /// Takes no longer than the platform's limit less the margin, whatever the handler does. The same turn again is
    /// joined while it runs and replayed when it is done.
    ///
    /// # Errors
    /// [`Refused`] when the body is no turn, or the bot has no handler for it.
    pub(crate) async fn answer(self: &Arc<Self>, body: Bytes, arrived: Instant) -> Result<Answered, Refused> {
        let turn = Arc::new(dialogflow::decode(body, self.settings.es_api)?);
        let span = Span::current();
        if !span.is_disabled() {
            span.record("session.id", turn.session.id());
            span.record("intent.name", turn.name());
            span.record("response.id", turn.response_id.as_str());
        }
        let Some(intent) = self.routes.find(&turn) else {
            self.metrics.unmatched(turn.name());
            return Err(no_handler(&turn));
        };
        if intent.by == crate::bot::By::Fallback {
            self.metrics.unmatched(turn.name());
        }
        let answer_by = arrived + self.settings.budget(turn.api);
        let key = TurnKey::of(&turn, intent);
        let running = match self.late.find(&key).await {
            Some(late::Found::Running(running)) => running,
            Some(late::Found::Kept(body)) => {
                let answered = Answered { body: Some(body) };
                self.done(&key, &turn, &answered).await;
                self.metrics.answered(intent.label(), "late", arrived.elapsed());
                return Ok(answered);
            }
            None => match self.join_or_start(&turn, intent, &key, answer_by).await {
                Joined::Done(answered) => {
                    self.metrics.answered(intent.label(), "replayed", arrived.elapsed());
                    return Ok(answered);
                }
                Joined::Running(running) => running,
                Joined::Full => {
                    warn!(
                        in_flight_max = self.settings.turns_in_flight,
                        "too many turns in flight; said that we are busy"
                    );
                    self.metrics.answered(intent.label(), "busy", arrived.elapsed());
                    return Ok(self.say(&turn, fail::busy_text(&Lang::new(turn.language.as_str()))));
                }
            },
        };
        let answered = match tokio::time::timeout_at(answer_by, running.answer.clone()).await {
            Ok(answered) => answered,
            Err(_) if running.progress.give_up() => {
                self.late.expect(&key, running).await;
                self.metrics.answered(intent.label(), "slow", arrived.elapsed());
                return Ok(self.say(&turn, intent.slow_text(&Lang::new(turn.language.as_str()))));
            }
            Err(_) => running.answer.await,
        };
        self.late.delivered(&key).await;
        Ok(answered)
    }

    /// Keeps the set of late replies as the database has it, and deletes what has expired; runs until dropped.
    pub(crate) async fn keep_late(self: Arc<Self>) {
        self.late.follow().await;
    }

    /// Waits for the handlers that are still running, `patience` at most; returns how many were left.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        let all = u32::try_from(self.settings.turns_in_flight).unwrap_or(u32::MAX);
        match tokio::time::timeout(patience, self.places.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => self
                .settings
                .turns_in_flight
                .saturating_sub(self.places.available_permits()),
        }
    }

    fn say(&self, turn: &Turn, text: String) -> Answered {
        let body = dialogflow::encode(turn, &Answer::from(Reply::text(text.as_str())), &text);
        Answered { body: Some(body) }
    }

    async fn done(&self, key: &TurnKey, turn: &Turn, answered: &Answered) {
        let done = Flight::Done {
            response_id: turn.response_id.as_str().into(),
            answered: answered.clone(),
        };
        self.flights.insert(key.turn, done).await;
    }

    /// Joins the same turn while it runs, takes its reply when it is done, or else starts it; in one step, so that a
    /// turn that comes twice at once starts once.
    async fn join_or_start(
        self: &Arc<Self>,
        turn: &Arc<Turn>,
        intent: &Arc<Intent>,
        key: &TurnKey,
        answer_by: Instant,
    ) -> Joined {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return match self.flights.get(&key.turn).await {
                Some(Flight::Running(running)) => Joined::Running(running),
                Some(Flight::Done { response_id, answered }) if is_same(&response_id, turn) => Joined::Done(answered),
                Some(Flight::Done { .. }) | None => Joined::Full,
            };
        };
        let mut place = Some(place);
        // A handler that is done before its flight stands in the cache would be overwritten by it: it waits.
        let (taken_off, runway) = oneshot::channel::<()>();
        let mut runway = Some(runway);
        let start = |flight: Option<moka::Entry<key::Hash, Flight>>| {
            let op = match flight.map(moka::Entry::into_value) {
                Some(Flight::Running(_)) => Op::Nop,
                Some(Flight::Done { response_id, .. }) if is_same(&response_id, turn) => Op::Nop,
                Some(Flight::Done { .. }) | None => Op::Put(Flight::Running(self.start(
                    turn,
                    intent,
                    key,
                    answer_by,
                    (place.take(), runway.take()),
                ))),
            };
            std::future::ready(op)
        };
        let flight = match self.flights.entry(key.turn).and_compute_with(start).await {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry)
            | CompResult::Removed(entry) => Some(entry.into_value()),
            CompResult::StillNone(_) => None,
        };
        drop(taken_off);
        match flight {
            Some(Flight::Running(running)) => Joined::Running(running),
            Some(Flight::Done { answered, .. }) => Joined::Done(answered),
            None => Joined::Full,
        }
    }

    fn start(
        self: &Arc<Self>,
        turn: &Arc<Turn>,
        intent: &Arc<Intent>,
        key: &TurnKey,
        answer_by: Instant,
        (place, runway): (Option<OwnedSemaphorePermit>, Option<oneshot::Receiver<()>>),
    ) -> Running {
        let progress = Arc::<Progress>::default();
        let run = run::Run {
            fulfillment: Arc::clone(self),
            turn: Arc::clone(turn),
            intent: Arc::clone(intent),
            key: key.clone(),
            answer_by,
            progress: Arc::clone(&progress),
        };
        let sorry = self.say(turn, fail::sorry_text(&Lang::new(turn.language.as_str())));
        let task = self.runtime.spawn(
            async move {
                if let Some(runway) = runway {
                    // Ends when the other end is dropped, also with a caller that has gone.
                    runway.await.ok();
                }
                let answered = run.answer().await;
                drop(place);
                answered
            }
            .in_current_span(),
        );
        let answer = task.map(move |ended| ended.unwrap_or(sorry)).boxed().shared();
        Running { answer, progress }
    }
}

enum Joined {
    Running(Running),
    Done(Answered),
    Full,
}

/// Whether the turn is the one whose answer bears `response_id`. Without an id there is no telling.
fn is_same(response_id: &str, turn: &Turn) -> bool {
    !response_id.is_empty() && response_id == turn.response_id
}

fn no_handler(turn: &Turn) -> Refused {
    let field = match turn.api {
        Api::EsV2 | Api::EsV2beta1 => "queryResult.intent.displayName",
        Api::CxV3 => "fulfillmentInfo.tag",
    };
    let found = match turn.api {
        Api::EsV2 | Api::EsV2beta1 => &turn.intent,
        Api::CxV3 => &turn.tag,
    };
    Refused::NoHandler {
        field,
        found: found.chars().take(200).collect(),
    }
}
