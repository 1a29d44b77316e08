//! One turn, from the request's bytes to the reply's: always in time, and each turn once.

mod asked;
pub(crate) mod door;
mod flights;
pub(crate) mod late;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, record_all, warn};

use self::asked::Asked;
use self::flights::{Answered, Claim, Flights, Progress, Running};
use self::late::Late;
use self::run::Run;
use crate::bot::{By, Intent, Routes};
use crate::clock::before;
use crate::config::TurnSettings;
use crate::conversation::user;
use crate::fail::{self, Fail};
use crate::handler::{Identity, Services};
use crate::idempotency::key::TurnKey;
use crate::platform::{self, NotATurn};
use crate::reply::{Answer, Reply};
use crate::telemetry::{Metrics, TURN_LINES};
use crate::turn::{Turn, beginning};

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
    /// The handler has failed, and its intent leaves what the user hears to the platform.
    #[error("the handler failed")]
    Failed,
}

/// What comes of asking.
enum Claimed {
    /// An answer at once, and what to count it as.
    Done(&'static str, Answered),
    /// The handler's run for another, which has the answer.
    Joined(Running),
    /// A run of its own.
    Started(Running),
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
    /// [`Refused`] when the body is no turn, the bot has no handler for it, or the user is to hear nothing of its failure.
    pub(crate) async fn answer(self: &Arc<Self>, body: Bytes, arrived: Instant) -> Result<Bytes, Refused> {
        let asked = self.read(body, arrived)?;
        match self.answered(&asked).await {
            Answered::Reply(body) | Answered::Instead(body) => Ok(body),
            Answered::Failed => Err(Refused::Failed),
        }
    }

    /// What the turn is answered with, counted.
    async fn answered(self: &Arc<Self>, asked: &Asked) -> Answered {
        let arrived = asked.arrived;
        if asked.turn.fills_slots() && !asked.intent.slot_filling {
            let answered = self.say(&asked.turn, &slots_text(asked));
            return self.count(&asked.intent, "slot_filling", arrived, answered);
        }
        match self.claim(asked).await {
            Claimed::Done(outcome, answered) => self.count(&asked.intent, outcome, arrived, answered),
            Claimed::Joined(running) => {
                running.awaited.extend(asked.answer_by);
                let answered = self.wait(asked, running).await;
                self.given(asked, &answered).await;
                debug!(target: TURN_LINES, outcome = "joined", duration_ms = arrived.elapsed().as_millis(), "turn answered");
                answered
            }
            Claimed::Started(running) => self.wait(asked, running).await,
        }
    }

    /// Reads what is asked, and who answers it.
    fn read(&self, body: Bytes, arrived: Instant) -> Result<Asked, Refused> {
        let turn = Arc::new(platform::decode(&body, self.settings.dialogflow.es_api)?);
        let span = Span::current();
        if !span.is_disabled() {
            // At once, since each record writes the span's fields anew.
            record_all!(
                span,
                session.id = beginning(turn.session.id()),
                intent.name = turn.name(),
                response.id = beginning(&turn.response_id)
            );
        }
        let Some(intent) = self.routes.find(&turn) else {
            self.unmatched(&turn);
            debug!(target: TURN_LINES, outcome = "no_handler", "turn refused");
            return Err(no_handler(&turn));
        };
        if intent.by == By::Fallback {
            self.unmatched(&turn);
        }
        Ok(Asked {
            key: TurnKey::of(&turn, &body, &intent.asked()),
            intent: Arc::clone(intent),
            arrived,
            answer_by: arrived + self.settings.budget(turn.api),
            turn,
            body,
        })
    }

    /// Finds what there is for the turn already, or starts its handler.
    async fn claim(self: &Arc<Self>, asked: &Asked) -> Claimed {
        match before(asked.answer_by, self.late(asked)).await {
            Ok(None) => {}
            Ok(Some(late::Found::Running(running))) => return Claimed::Joined(running),
            Ok(Some(late::Found::Kept(body))) => {
                self.flights.give(&asked.key.turn, &asked.turn.response_id, &body);
                return Claimed::Done("late", Answered::Reply(body));
            }
            // The database does not say in time what it keeps.
            Err(_) => return Claimed::Done("slow", self.slow(asked)),
        }
        let mut place = Arc::clone(&self.places).try_acquire_owned().ok();
        let mut claim = self
            .flights
            .claim(&asked.key.turn, &asked.turn.response_id, place.is_some());
        if matches!(claim, Claim::Full) {
            place = self.place_of_a_late_one(asked.answer_by).await;
            claim = self
                .flights
                .claim(&asked.key.turn, &asked.turn.response_id, place.is_some());
        }
        match claim {
            Claim::Join(running) => {
                drop(place);
                match before(asked.answer_by, self.has_identity_of(&running, asked)).await {
                    Ok(true) => Claimed::Joined(running),
                    Ok(false) => {
                        let apart = Asked {
                            key: asked.key.apart(),
                            ..asked.clone()
                        };
                        Box::pin(self.claim(&apart)).await
                    }
                    Err(_) => Claimed::Done("slow", self.slow(asked)),
                }
            }
            Claim::Replay(reply) => Claimed::Done("replayed", Answered::Reply(reply)),
            Claim::Start(running, sender) => {
                running.awaited.extend(asked.answer_by);
                let (fulfillment, progress) = (Arc::clone(self), Arc::clone(&running.progress));
                let run = Run {
                    services: Arc::clone(&self.services),
                    limit: asked.intent.limit.unwrap_or(self.settings.handler_limit()),
                    asked: asked.clone(),
                    awaited: running.awaited.clone(),
                    identity: Identity::clone(&running.identity),
                };
                // Apart from the threads that serve connections: a handler that blocks its thread holds up no answer.
                self.runtime.spawn(
                    async move {
                        let answered = fulfillment.finish(run, &progress).await;
                        drop(place);
                        // Nobody may be left who waits.
                        sender.send(answered).ok();
                    }
                    .in_current_span(),
                );
                Claimed::Started(running)
            }
            Claim::Full => {
                warn!(
                    in_flight_max = self.settings.turns_in_flight,
                    "too many turns in flight; said that we are busy"
                );
                Claimed::Done("busy", self.say(&asked.turn, &fail::busy_text(&asked.lang())))
            }
        }
    }

    /// Runs a handler to its end. Its reply is kept where the user has heard the slow text meanwhile.
    async fn finish(&self, run: Run, progress: &Progress) -> Answered {
        let (started, asked, identity) = (Instant::now(), run.asked.clone(), Identity::clone(&run.identity));
        let (answered, outcome) = run.answer().await;
        self.flights.finish(&asked.key.turn, &asked.turn.response_id, &answered);
        if progress.finish() {
            self.late
                .keep(&asked.key, &asked.turn.session, identity.get(), answered.reply())
                .await;
        }
        self.count(&asked.intent, outcome, started, answered)
    }

    /// The place of a turn whose user has heard the slow text, and which waits for a connection still: that one is ended,
    /// and runs anew when it is asked again.
    async fn place_of_a_late_one(&self, answer_by: Instant) -> Option<OwnedSemaphorePermit> {
        if !self.services.gates.shed() {
            return None;
        }
        before(answer_by, Arc::clone(&self.places).acquire_owned())
            .await
            .ok()?
            .ok()
    }

    /// The late reply to the question, or the handler that is late with it.
    async fn late(&self, asked: &Asked) -> Option<late::Found> {
        if !self.late.is_known(&asked.key).await {
            return None;
        }
        // The handler would read what the conversation has been moved to since; the late one has not.
        if self.services.conversation.has_goto(&asked.turn.session).await {
            return None;
        }
        match self.late.find(&asked.key).await? {
            late::Found::Running(running) => {
                let is_theirs = self.has_identity_of(&running, asked).await;
                is_theirs.then_some(late::Found::Running(running))
            }
            late::Found::Kept(body) => Some(late::Found::Kept(body)),
        }
    }

    /// Whether the user's identity is still what the run has read of it. A run that has not may read it yet: then it reads
    /// what is so now.
    async fn has_identity_of(&self, running: &Running, asked: &Asked) -> bool {
        let Some(read) = running.identity.get() else {
            return true;
        };
        let (pool, now) = (self.services.database.primary(), self.services.clock.now());
        match user::verified(pool, asked.turn.session.as_str(), now).await {
            Ok(verified) => verified == *read,
            Err(error) => {
                warn!(error = %error, "identity cannot be read; the handler runs again");
                false
            }
        }
    }

    /// Waits for the run within the time; after it, the user hears the slow text.
    async fn wait(&self, asked: &Asked, running: Running) -> Answered {
        let answered = match before(asked.answer_by, running.answer.clone()).await {
            Ok(answered) => answered,
            Err(_) if running.progress.give_up() => {
                self.late.expect(&asked.key, running).await;
                return self.count(&asked.intent, "slow", asked.arrived, self.slow(asked));
            }
            Err(_) => running.answer.await,
        };
        // A run that is lost without an answer has panicked outside of its handler.
        answered.unwrap_or_else(|_| self.say(&asked.turn, &fail::sorry_text(&asked.lang())))
    }

    /// The turn has the answer of another's run: it gets the same when it comes again, and no other turn does.
    async fn given(self: &Arc<Self>, asked: &Asked, answered: &Answered) {
        let Some(reply) = answered.reply() else { return };
        self.flights.give(&asked.key.turn, &asked.turn.response_id, reply);
        if self.late.is_known(&asked.key).await {
            let (fulfillment, key) = (Arc::clone(self), asked.key.clone());
            self.runtime
                .spawn(async move { fulfillment.late.delivered(&key).await });
        }
    }

    /// Counts a turn that has no handler of its own, and tells of the first of each name: it may be a slip of the pen, in
    /// the agent or here. Where the platform itself says that nothing matched, all is as it should be.
    fn unmatched(&self, turn: &Turn) {
        if self.metrics.unmatched(turn.name()) && !turn.is_fallback {
            warn!(
                name = turn.name(),
                nearest = self.routes.nearest(turn.name()),
                "no handler has this name; it is told once"
            );
        }
    }

    /// Counts and logs an outcome.
    fn count(&self, intent: &Intent, outcome: &'static str, arrived: Instant, answered: Answered) -> Answered {
        let duration = arrived.elapsed();
        debug!(target: TURN_LINES, outcome, duration_ms = duration.as_millis(), "turn answered");
        self.metrics
            .answered(intent.label(), &intent.replies, outcome, duration);
        answered
    }

    /// Keeps the set of late replies as the database has it; runs until dropped.
    pub(crate) async fn keep_late(self: Arc<Self>) {
        self.late.follow().await;
    }

    /// Deletes replies that have expired; runs until dropped.
    pub(crate) async fn sweep_late(self: Arc<Self>) {
        self.late.sweep().await;
    }

    /// How many questions a late reply is known for, or still awaited.
    pub(crate) async fn late_replies(&self) -> u64 {
        self.late.count().await
    }

    /// What its handlers work with.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// How many turns are in the works, and how many may be.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        let most = self.settings.turns_in_flight;
        (most.saturating_sub(self.places.available_permits()), most)
    }

    /// Waits for the handlers that are still running, `patience` at most; returns how many were left.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        let all = u32::try_from(self.settings.turns_in_flight).unwrap_or(u32::MAX);
        match tokio::time::timeout(patience, self.places.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => self.in_flight().0,
        }
    }

    /// What the user hears instead of a reply that does not come in time.
    fn slow(&self, asked: &Asked) -> Answered {
        self.say(&asked.turn, &asked.intent.slow_text(&asked.lang()))
    }

    fn say(&self, turn: &Turn, text: &str) -> Answered {
        Answered::Instead(platform::encode(turn, &Answer::from(Reply::text(text))))
    }
}

/// What goes on to the user in a turn that is not to be carried out: what the agent says by itself, if it says anything.
fn slots_text(asked: &Asked) -> String {
    let (turn, lang) = (&asked.turn, asked.lang());
    if !turn.agent_text.trim().is_empty() {
        return turn.agent_text.clone();
    }
    let missing = turn.parameters.iter().find(|(_, value)| *value == "");
    match missing {
        Some((parameter, _)) if !turn.cancels_slot_filling => asked
            .intent
            .prompt(parameter, &lang)
            .map_or_else(|| Fail::missing(parameter).spoken(&lang), str::to_owned),
        Some(_) | None => fail::cancelled_text(&lang),
    }
}

fn no_handler(turn: &Turn) -> Refused {
    let (field, found) = platform::intent_field(turn);
    Refused::NoHandler {
        field,
        found: found.chars().take(200).collect(),
    }
}
