//! The service put together: from settings and a bot to a listening server, and back to rest.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use tracing_actix_web::TracingLogger;

use crate::auth::Exposure;
use crate::body::BodyMemory;
use crate::bot::Bot;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{
    Door, DoorsSettings, EventSettings, NotificationSettings, ServerSettings, StreamSettings, TurnSettings,
};
use crate::conversation::Conversation;
use crate::conversation::door::{MAX_WANTED, StreamsDoor};
use crate::conversation::stream_token::StreamTokens;
use crate::events::{self, Events};
use crate::fulfillment::Fulfillment;
use crate::fulfillment::door::{MAX_BODY, TurnsDoor};
use crate::guard::{Around, Guard, ProvingBody};
use crate::handler::{Gates, Services};
use crate::intake::door::EventsDoor;
use crate::intake::reception::Reception;
use crate::listener::{Server, raise_descriptors};
use crate::operate::figures::Figures;
use crate::operate::{Operated, expect_guarded};
use crate::postgres::Database;
use crate::privacy::{self, expect_private};
use crate::redirect::{self, Elsewhere};
use crate::refusals::Refusals;
use crate::rulebook;
use crate::server::Doors;
use crate::source::Surroundings;
use crate::telemetry::Metrics;
use crate::terms::Terms;
use crate::tls::Tls;
use crate::upstream::{self, Upstream};

/// How long turns in flight may take to finish once no more are taken.
const DRAIN: Duration = Duration::from_secs(20);

/// How long connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A service that listens.
pub(crate) struct Service {
    server: Server,
    operate: Option<Server>,
    refusals: Refusals,
    /// What sends plain HTTP to it.
    redirect: Option<Server>,
    terms: Terms,
    fulfillment: Arc<Fulfillment>,
    conversation: Arc<Conversation>,
    events: Events,
    database: Database,
    background: JoinSet<()>,
}

/// What a service is made of.
pub(crate) struct Parts {
    pub(crate) bot: Bot,
    pub(crate) database: Database,
    pub(crate) server: ServerSettings,
    pub(crate) turns: TurnSettings,
    pub(crate) doors: DoorsSettings,
    pub(crate) events: EventSettings,
    pub(crate) stream: StreamSettings,
    pub(crate) notifications: NotificationSettings,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Clock,
}

impl Service {
    /// Listens, and answers from then on.
    ///
    /// # Errors
    /// When the bot's list or the callers' settings are wrong, or the address cannot be bound. That an open service is
    /// on loopback is for [`check`].
    pub(crate) async fn start(parts: Parts) -> anyhow::Result<Self> {
        let Parts {
            bot,
            database,
            server,
            turns,
            doors: settings,
            events,
            stream,
            notifications,
            data_dir,
            clock,
        } = parts;
        let page = bot.page();
        let (intents, data, actions) = bot.into_routes()?;
        let audited = clock.clone();
        let exposure = Exposure::of(server.listen);
        let metrics = Metrics::new(&turns.limits());
        let tls = Tls::new(&server.tls, clock.clone(), metrics.clone())?;
        let refusals = Refusals::new(metrics.events().clone());
        let around = Around {
            clock: clock.clone(),
            http: upstream::key_client()?,
            takes_certificates: tls.as_ref().is_some_and(|tls| tls.takes_clients()),
            proxies: server.proxies.clone(),
            refusals: refusals.clone(),
            database: Some(database.clone()),
        };
        let body_bytes = server.body_memory_mib.saturating_mul(1024 * 1024);
        // What events take, turns do not miss.
        let turn_memory = BodyMemory::new(body_bytes / 4);
        let guards = Guards::new(&settings, &server, &around, Some(turn_memory.clone()))?;
        let conversation = Conversation::new(database.clone(), clock.clone(), metrics.clone());
        let upstream = Upstream::by(clock.clone())?;
        let breakers = upstream.breakers();
        let events = Events::serve(events::Parts {
            database: database.clone(),
            clock: clock.clone(),
            settings: events,
            notifications,
            exposure,
            data_dir,
            actions,
            conversation: Arc::clone(&conversation),
            breakers: breakers.clone(),
            metrics: metrics.events().clone(),
            refusals: refusals.clone(),
        })
        .await?;
        let services = Arc::new(Services {
            database: database.clone(),
            gates: Gates::before(&database),
            cache: Cache::new(turns.cache_mib * 1024 * 1024, clock.clone()),
            upstream,
            clock,
            conversation: Arc::clone(&conversation),
            data,
        });
        let fulfillment = Fulfillment::new(
            intents,
            services,
            turns,
            metrics.clone(),
            tokio::runtime::Handle::current(),
        );
        let terms = Terms::new(server.keep_alive(), raise_descriptors());
        let doors = Doors {
            turns: Arc::new(TurnsDoor {
                fulfillment: Arc::clone(&fulfillment),
                guard: guards.turns,
                memory: turn_memory.clone(),
            }),
            events: Arc::new(EventsDoor {
                reception: events.reception(),
                guard: guards.events,
                memory: BodyMemory::new(body_bytes - body_bytes / 4),
            }),
            streams: Arc::new(StreamsDoor::new(
                Arc::clone(&conversation),
                guards.stream,
                StreamTokens::new(database.clone()),
                stream.stream_allowed_origins,
                turn_memory,
            )),
            operated: Arc::new(Operated {
                guard: guards.operate,
                database: database.clone(),
                metrics,
                figures: Figures::registry(database.clone(), breakers, Some(Arc::clone(&fulfillment))),
                terms: terms.clone(),
                fulfillment: Some(Arc::clone(&fulfillment)),
            }),
            page,
            has_metrics: server.operate.operate_listen.is_none(),
            proxies: Data::new(server.proxies),
        };
        let operate = server.operate.operate_listen.map(|listen| {
            let operated = Arc::clone(&doors.operated);
            let proxies = doors.proxies.clone();
            let app = move || {
                App::new()
                    .app_data(proxies.clone())
                    .configure(|config| Arc::clone(&operated).routes(config))
                    .wrap(from_fn(privacy::guard))
            };
            Server::start(listen, tls.clone(), terms.clone(), app).context("OPERATE_LISTEN")
        });
        let operate = operate.transpose()?;
        let redirect = server.http_redirect_listen;
        let server = Server::start(server.listen, tls, terms.clone(), move || {
            App::new()
                .configure(|config| doors.routes(config))
                .wrap(from_fn(privacy::guard))
                .wrap(TracingLogger::<crate::telemetry::TurnSpan>::new())
        })
        .context("LISTEN")?;
        let redirect = redirect.map(|listen| {
            let elsewhere = Data::new(Elsewhere {
                port: server.address().port(),
            });
            let app = move || App::new().app_data(elsewhere.clone()).configure(redirect::routes);
            Server::start(listen, None, terms.clone(), app).context("HTTP_REDIRECT_LISTEN")
        });
        let redirect = redirect.transpose()?;
        let mut background = JoinSet::new();
        background.spawn(database.clone().watch());
        background.spawn(refusals.clone().audited(database.clone(), audited));
        background.spawn(Arc::clone(&fulfillment).keep_late());
        background.spawn(Arc::clone(&fulfillment).sweep_late());
        background.spawn(Arc::clone(&conversation).keep_up());
        background.spawn(Arc::clone(&conversation).sweep());
        Ok(Self {
            server,
            operate,
            refusals,
            redirect,
            terms,
            fulfillment,
            conversation,
            events,
            database,
            background,
        })
    }

    /// The URL of it, by the address that it listens at.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Where it sends plain HTTP on, where it does.
    pub(crate) fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect.as_ref().map(Server::address)
    }

    /// The way in for events; `None` where there is no events directory.
    pub(crate) fn reception(&self) -> Option<Arc<Reception>> {
        self.events.reception()
    }

    /// What it knows of conversations.
    #[cfg(test)]
    pub(crate) fn conversation(&self) -> &Arc<Conversation> {
        &self.conversation
    }

    /// The database it answers from.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Says that it is not ready and goes on for `delay`; then takes no more turns, finishes those in flight, and closes
    /// the database.
    pub(crate) async fn stop(mut self, delay: Duration) {
        self.terms.leave();
        tokio::time::sleep(delay).await;
        let patience = Instant::now() + DRAIN;
        // They have no end of their own.
        self.conversation.end_streams();
        let left = self.server.drain(patience).await;
        if left > 0 {
            warn!(connections = left, "connections were still open and are ended");
        }
        let left = self
            .fulfillment
            .drain(patience.saturating_duration_since(Instant::now()))
            .await;
        if left > 0 {
            warn!(handlers = left, "handlers were still running and are ended");
        }
        if let Err(error) = self.refusals.audit(self.database.events(), self.database.clock()).await {
            info!(error = %error, "the last refusals are not on the audit trail");
        }
        self.events.stop().await;
        self.background.shutdown().await;
        // A handler that was ended may still hold a connection.
        if tokio::time::timeout(CLOSE_LIMIT, self.database.close()).await.is_err() {
            warn!("connections were still in use and are dropped");
        }
        // Last, for connections to the database may be theirs.
        if let Some(redirect) = self.redirect {
            redirect.stop().await;
        }
        self.server.stop().await;
        if let Some(operate) = self.operate {
            operate.stop().await;
        }
        info!("stopped");
    }
}

/// The guards of all doors.
struct Guards {
    turns: Arc<Guard>,
    events: Arc<Guard>,
    stream: Arc<Guard>,
    operate: Arc<Guard>,
}

impl Guards {
    /// `turn_memory` is where bodies lie that prove their callers.
    fn new(
        settings: &DoorsSettings,
        server: &ServerSettings,
        around: &Around,
        turn_memory: Option<BodyMemory>,
    ) -> anyhow::Result<Self> {
        let guard = |door: Door, body| {
            let listen = match door {
                Door::Turns | Door::Events | Door::Stream => server.listen,
                Door::Operate => server.operate_address(),
            };
            let guard = Guard::new(door, settings.of(door), Exposure::of(listen), around, body);
            guard.with_context(|| format!("the door {}", door.name()))
        };
        let proving = |max| turn_memory.clone().map(|memory| ProvingBody { max, memory });
        Ok(Self {
            turns: guard(Door::Turns, proving(MAX_BODY))?,
            events: guard(Door::Events, None)?,
            stream: guard(Door::Stream, proving(MAX_WANTED))?,
            operate: guard(Door::Operate, None)?,
        })
    }
}

/// Checks what can be checked before anything is started; returns whether anybody is admitted to post turns.
///
/// # Errors
/// When the bot's list, the callers' settings or those of TLS are wrong; or an address is not loopback, and a door there has
/// no caller method, a secret could be guessed, or anybody on the way could read along.
pub(crate) fn check(
    bot: &Bot,
    server: &ServerSettings,
    doors: &DoorsSettings,
    events: &EventSettings,
) -> anyhow::Result<bool> {
    bot.check()?;
    let surroundings = Surroundings::new(Clock::system())?;
    let errors = rulebook::errors(&events.events_dir, &bot.action_names(), &surroundings);
    if !errors.is_empty() {
        return Err(events::wrong(&errors));
    }
    let tls = Tls::new(&server.tls, Clock::system(), Metrics::default())?;
    let around = Around {
        clock: Clock::system(),
        http: upstream::key_client()?,
        takes_certificates: tls.as_ref().is_some_and(|tls| tls.takes_clients()),
        proxies: server.proxies.clone(),
        refusals: Refusals::new(Metrics::default().events().clone()),
        database: None,
    };
    let guards = Guards::new(doors, server, &around, None)?;
    let Guards {
        turns,
        events,
        stream,
        operate,
    } = &guards;
    expect_guarded("LISTEN", server.listen, &[turns, events, stream])?;
    expect_private("LISTEN", server.listen, tls.is_some(), &server.proxies)?;
    expect_guarded("OPERATE_LISTEN", server.operate_address(), &[operate])?;
    expect_private(
        "OPERATE_LISTEN",
        server.operate_address(),
        tls.is_some(),
        &server.proxies,
    )?;
    if let (Some(listen), None) = (server.http_redirect_listen, tls) {
        bail!(
            "HTTP_REDIRECT_LISTEN: found {listen}, expected none while no HTTPS is spoken; set TLS_CERT_FILE and TLS_KEY_FILE"
        );
    }
    if !turns.is_open() {
        return Ok(false);
    }
    warn!("no caller method is set: whoever reaches this loopback address is admitted");
    Ok(true)
}
