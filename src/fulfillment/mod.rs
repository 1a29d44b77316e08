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
use futures_util::future::Shared;
use moka::ops::compute::Op;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, debug, warn};

pub(crate) use self::key::TurnKey;
use self::late::Late;
use self::run::Run;
use crate::bot::{By, Intent, Routes};
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
    /// Whether it is the handler's reply, which the same turn gets again.
    pub(crate) is_reply: bool,
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
    running: moka::future::Cache<key::Hash, Running>,
    done: moka::future::Cache<key::Hash, Done>,
    late: Late,
    places: Arc<Semaphore>,
}

/// A turn that has been answered.
#[derive(Clone)]
struct Done {
    response_id: Arc<str>,
    answered: Answered,
}

/// A turn that is being answered.
#[derive(Clone)]
struct Running {
    answer: Shared<oneshot::Receiver<Answered>>,
    progress: Arc<Progress>,
}

impl Running {
    /// Whether its run is gone without an answer.
    fn is_lost(&self) -> bool {
        matches!(self.answer.peek(), Some(Err(_)))
    }
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
        let weigh = |_: &key::Hash, done: &Done| {
            let body = done.answered.body.as_ref().map_or(0, Bytes::len);
            u32::try_from(256 + done.response_id.len() + body).unwrap_or(u32::MAX)
        };
        let done = moka::future::Cache::builder()
            .max_capacity(REPLAY_MEMORY)
            .weigher(weigh)
            .time_to_live(REPLAY_WINDOW)
            .build();
        // Never full: as many as there are places.
        let running = moka::future::Cache::builder().build();
        let late = Late::new(services.database.clone(), services.clock.clone(), settings.late_ttl());
        let places = Arc::new(Semaphore::new(settings.turns_in_flight));
        Arc::new(Self {
            routes,
            services,
            settings,
            metrics,
            runtime,
            running,
            done,
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
        if intent.by == By::Fallback {
            self.metrics.unmatched(turn.name());
        }
        let answer_by = arrived + self.settings.budget(turn.api);
        let key = TurnKey::of(&turn, intent);
        let slow = || self.say(&turn, &intent.slow_text(&Lang::new(turn.language.as_str())));
        let (running, is_late) = match timeout_at(answer_by, self.late.find(&key)).await {
            Ok(Some(late::Found::Running(running))) => (running, true),
            Ok(Some(late::Found::Kept(body))) => {
                let answered = Answered {
                    body: Some(body),
                    is_reply: true,
                };
                self.keep(&key, &turn, &answered).await;
                return Ok(self.count(intent, "late", arrived, answered));
            }
            Ok(None) => match self.join_or_start(&turn, intent, &key, answer_by).await {
                Joined::Running(running) => (running, false),
                Joined::Done(answered) => return Ok(self.count(intent, "replayed", arrived, answered)),
                Joined::Full => {
                    warn!(
                        in_flight_max = self.settings.turns_in_flight,
                        "too many turns in flight; said that we are busy"
                    );
                    let busy = self.say(&turn, &fail::busy_text(&Lang::new(turn.language.as_str())));
                    return Ok(self.count(intent, "busy", arrived, busy));
                }
            },
            // The database does not say in time what it keeps.
            Err(_) => return Ok(self.count(intent, "slow", arrived, slow())),
        };
        let answered = match timeout_at(answer_by, running.answer.clone()).await {
            Ok(answered) => answered,
            Err(_) if running.progress.give_up() => {
                self.late.expect(&key, running).await;
                return Ok(self.count(intent, "slow", arrived, slow()));
            }
            Err(_) => running.answer.await,
        };
        // A run that is lost without an answer has panicked outside of its handler.
        let Ok(answered) = answered else {
            return Ok(self.say(&turn, &fail::sorry_text(&Lang::new(turn.language.as_str()))));
        };
        if is_late {
            // This turn has the reply of another: it gets the same when it comes again, and nobody else does.
            self.keep(&key, &turn, &answered).await;
            let (fulfillment, key) = (Arc::clone(self), key.clone());
            self.runtime
                .spawn(async move { fulfillment.late.delivered(&key).await });
        }
        Ok(answered)
    }

    /// Counts an outcome that is not a run's own.
    fn count(&self, intent: &Intent, outcome: &'static str, arrived: Instant, answered: Answered) -> Answered {
        let duration = arrived.elapsed();
        debug!(outcome, duration_ms = duration.as_millis(), "turn answered");
        self.metrics.answered(intent.label(), outcome, duration);
        answered
    }

    /// Keeps the set of late replies as the database has it, and deletes what has expired; runs until dropped.
    pub(crate) async fn keep_late(self: Arc<Self>) {
        self.late.follow().await;
    }

    /// How many questions a late reply is known for, or still awaited.
    pub(crate) async fn late_replies(&self) -> u64 {
        self.late.count().await
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

    fn say(&self, turn: &Turn, text: &str) -> Answered {
        let body = dialogflow::encode(turn, &Answer::from(Reply::text(text)), text);
        Answered {
            body: Some(body),
            is_reply: false,
        }
    }

    async fn keep(&self, key: &TurnKey, turn: &Turn, answered: &Answered) {
        if !answered.is_reply {
            return;
        }
        let done = Done {
            response_id: turn.response_id.as_str().into(),
            answered: answered.clone(),
        };
        self.done.insert(key.turn, done).await;
    }

    /// The reply of the same turn, if it has been answered. Without a response id there is no telling.
    async fn replay(&self, key: &TurnKey, turn: &Turn) -> Option<Answered> {
        let done = self.done.get(&key.turn).await?;
        (!turn.response_id.is_empty() && *done.response_id == *turn.response_id).then_some(done.answered)
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
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let is_place = place.is_some();
        let mut start = None;
        let mut replayed = None;
        let compute = async |running: Option<moka::Entry<key::Hash, Running>>| {
            if running.is_some_and(|entry| !entry.value().is_lost()) {
                return Op::Nop;
            }
            // A run is put among the done ones before it leaves the running ones.
            replayed = self.replay(key, turn).await;
            if replayed.is_some() || !is_place {
                return Op::Nop;
            }
            let (sender, answer) = oneshot::channel();
            let running = Running {
                answer: answer.shared(),
                progress: Arc::default(),
            };
            start = Some((sender, Arc::clone(&running.progress)));
            Op::Put(running)
        };
        let entry = self
            .running
            .entry(key.turn)
            .and_compute_with(compute)
            .await
            .into_entry();
        if let Some(answered) = replayed {
            return Joined::Done(answered);
        }
        let Some(running) = entry.map(moka::Entry::into_value) else {
            return Joined::Full;
        };
        if let Some((sender, progress)) = start {
            let run = Run {
                fulfillment: Arc::clone(self),
                turn: Arc::clone(turn),
                intent: Arc::clone(intent),
                key: key.clone(),
                answer_by,
                progress,
            };
            self.runtime.spawn(
                async move {
                    let answered = run.answer().await;
                    drop(place);
                    // Nobody may be left who waits.
                    sender.send(answered).ok();
                }
                .in_current_span(),
            );
        }
        Joined::Running(running)
    }
}

enum Joined {
    Running(Running),
    Done(Answered),
    Full,
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
