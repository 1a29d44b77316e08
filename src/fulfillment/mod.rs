//! One turn, from the request's bytes to the reply's: always in time, and each turn once.

mod flights;
mod key;
mod late;
pub(crate) mod record;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, record_all, warn};

pub(crate) use self::flights::Answered;
use self::flights::{Claim, Flights, Running};
pub(crate) use self::key::TurnKey;
use self::late::Late;
use self::run::Run;
use crate::bot::{By, Intent, Routes};
use crate::clock::before;
use crate::config::TurnSettings;
use crate::dialogflow::{self, NotATurn};
use crate::fail;
use crate::handler::Services;
use crate::lang::Lang;
use crate::reply::{Answer, Reply};
use crate::telemetry::Metrics;
use crate::turn::{Api, Turn};

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
    flights: Flights,
    late: Late,
    places: Arc<Semaphore>,
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
        let late = Late::new(services.database.clone(), services.clock.clone(), settings.late_ttl());
        let places = Arc::new(Semaphore::new(settings.turns_in_flight));
        Arc::new(Self {
            routes,
            services,
            settings,
            metrics,
            runtime,
            flights: Flights::new(),
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
            // At once, since each record writes the span's fields anew.
            record_all!(
                span,
                session.id = turn.session.id(),
                intent.name = turn.name(),
                response.id = turn.response_id.as_str()
            );
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
        let (running, run) = match self.late.find(&key, answer_by).await {
            Ok(Some(late::Found::Running(running))) => (running, None),
            Ok(Some(late::Found::Kept(body))) => {
                let answered = Answered {
                    body: Some(body),
                    is_reply: true,
                };
                self.flights.give(&key.turn, &turn.response_id, &answered);
                return Ok(self.count(intent, "late", arrived, answered));
            }
            Ok(None) => {
                let place = Arc::clone(&self.places).try_acquire_owned().ok();
                match self.flights.claim(&key.turn, &turn.response_id, place.is_some()) {
                    Claim::Join(running) => (running, None),
                    Claim::Replay(answered) => return Ok(self.count(intent, "replayed", arrived, answered)),
                    Claim::Start(running, sender) => {
                        let run = self.run(&turn, intent, &key, answer_by, &running, place, sender);
                        (running, Some(run))
                    }
                    Claim::Full => {
                        warn!(
                            in_flight_max = self.settings.turns_in_flight,
                            "too many turns in flight; said that we are busy"
                        );
                        let busy = self.say(&turn, &fail::busy_text(&Lang::new(turn.language.as_str())));
                        return Ok(self.count(intent, "busy", arrived, busy));
                    }
                }
            }
            // The database does not say in time what it keeps.
            Err(_) => return Ok(self.count(intent, "slow", arrived, slow())),
        };
        let is_ours = run.is_some();
        if let Some(run) = run {
            // Apart from the threads that serve connections: a handler that blocks its thread holds up no answer.
            self.runtime.spawn(run.in_current_span());
        }
        let answered = match before(answer_by, running.answer.clone()).await {
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
        if !is_ours {
            // This turn has the reply of another run: it gets the same when it comes again.
            self.flights.give(&key.turn, &turn.response_id, &answered);
            if self.late.is_known(&key).await {
                let (fulfillment, key) = (Arc::clone(self), key.clone());
                self.runtime
                    .spawn(async move { fulfillment.late.delivered(&key).await });
            }
        }
        Ok(answered)
    }

    /// Counts and logs an outcome.
    fn count(&self, intent: &Intent, outcome: &'static str, arrived: Instant, answered: Answered) -> Answered {
        let duration = arrived.elapsed();
        debug!(outcome, duration_ms = duration.as_millis(), "turn answered");
        self.metrics.answered(intent, outcome, duration);
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
        let body = dialogflow::encode(turn, &Answer::from(Reply::text(text)));
        Answered {
            body: Some(body),
            is_reply: false,
        }
    }

    /// One run of the handler, with what it tells to those who wait for it.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the run's parts, and this is where they come together"
    )]
    fn run(
        self: &Arc<Self>,
        turn: &Arc<Turn>,
        intent: &Arc<Intent>,
        key: &TurnKey,
        answer_by: Instant,
        running: &Running,
        place: Option<OwnedSemaphorePermit>,
        sender: oneshot::Sender<Answered>,
    ) -> BoxFuture<'static, ()> {
        let run = Run {
            fulfillment: Arc::clone(self),
            turn: Arc::clone(turn),
            intent: Arc::clone(intent),
            key: key.clone(),
            answer_by,
            progress: Arc::clone(&running.progress),
        };
        Box::pin(async move {
            let answered = run.answer().await;
            drop(place);
            // Nobody may be left who waits.
            sender.send(answered).ok();
        })
    }
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
