//! The service put together: from settings and a bot to a listening server, and back to rest.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use tracing_actix_web::TracingLogger;

use crate::auth::Auth;
use crate::bot::Bot;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{AuthSettings, EventSettings, NotificationSettings, ServerSettings, TurnSettings};
use crate::conversation::Conversation;
use crate::events::door::Door;
use crate::events::{self, Events};
use crate::fulfillment::Fulfillment;
use crate::handler::Services;
use crate::postgres::Database;
use crate::reactions;
use crate::server::{Doors, routes};
use crate::telemetry::Metrics;
use crate::upstream::{self, Upstream};

/// How long turns in flight may take to finish once the service is told to stop.
const DRAIN_SECONDS: u64 = 25;

/// How long connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A service that listens.
pub(crate) struct Service {
    addresses: Vec<SocketAddr>,
    server: ServerHandle,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
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
    pub(crate) auth: AuthSettings,
    pub(crate) events: EventSettings,
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
            auth,
            events,
            notifications,
            data_dir,
            clock,
        } = parts;
        let (intents, data, actions) = bot.into_routes()?;
        let auth = Auth::new(&auth, clock.clone(), upstream::client()?)?;
        let metrics = Metrics::default();
        let conversation = Conversation::new(database.clone(), clock.clone(), metrics.clone());
        let upstream = Upstream::new()?;
        let events = Events::serve(events::Parts {
            pool: database.events().clone(),
            clock: clock.clone(),
            settings: events,
            notifications,
            data_dir,
            actions,
            conversation: Arc::clone(&conversation),
            breakers: upstream.breakers(),
            metrics: metrics.events().clone(),
        })?;
        let services = Arc::new(Services {
            database: database.clone(),
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
        let doors = web::Data::new(Doors {
            fulfillment: Arc::clone(&fulfillment),
            auth: Arc::new(auth),
            database: database.clone(),
            conversation: Arc::clone(&conversation),
            events: events.door(),
            metrics,
        });
        let listener =
            TcpListener::bind(server.listen).with_context(|| format!("LISTEN: cannot bind {}", server.listen))?;
        let (addresses, running) = listen(listener, doors)?;
        let handle = running.handle();
        let mut background = JoinSet::new();
        background.spawn(database.clone().watch());
        background.spawn(Arc::clone(&fulfillment).keep_late());
        background.spawn(Arc::clone(&conversation).keep_up());
        Ok(Self {
            addresses,
            server: handle,
            serving: tokio::spawn(running),
            fulfillment,
            conversation,
            events,
            database,
            background,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The way in for events; `None` where there is no events directory.
    pub(crate) fn door(&self) -> Option<Arc<Door>> {
        self.events.door()
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

    /// Takes no more turns, finishes those in flight, and closes the database.
    pub(crate) async fn stop(mut self) {
        let patience = Instant::now() + Duration::from_secs(DRAIN_SECONDS);
        // They have no end of their own.
        self.conversation.end_streams();
        self.server.stop(true).await;
        let left = self
            .fulfillment
            .drain(patience.saturating_duration_since(Instant::now()))
            .await;
        if left > 0 {
            warn!(handlers = left, "handlers were still running and are ended");
        }
        self.events.stop().await;
        self.background.shutdown().await;
        if let Ok(Err(error)) = self.serving.await {
            warn!(error = %error, "the server ended with an error");
        }
        // A handler that was ended may still hold a connection.
        if tokio::time::timeout(CLOSE_LIMIT, self.database.close()).await.is_err() {
            warn!("connections were still in use and are dropped");
        }
        info!("stopped");
    }
}

/// Checks what can be checked before anything is started.
///
/// # Errors
/// When the bot's list or the callers' settings are wrong, or no caller method is set and the address is not loopback.
pub(crate) fn check(
    bot: &Bot,
    server: &ServerSettings,
    auth: &AuthSettings,
    events: &EventSettings,
) -> anyhow::Result<()> {
    bot.check()?;
    let errors = reactions::check(&events.events_dir, &bot.action_names());
    if !errors.is_empty() {
        return Err(events::wrong(&errors));
    }
    let auth = Auth::new(auth, Clock::system(), upstream::client()?)?;
    if !auth.is_open() {
        return Ok(());
    }
    if !server.listen.ip().is_loopback() {
        bail!(
            "LISTEN: found {}, expected a loopback address while no caller method is set; set one of AUTH_BASIC, \
             AUTH_BEARER, AUTH_JWT_KEY, AUTH_JWT_JWKS_URL, AUTH_GOOGLE_PROJECT_NUMBER, AUTH_HMAC_SECRET",
            server.listen
        );
    }
    warn!("no caller method is set: whoever reaches this loopback address is admitted");
    Ok(())
}

fn listen(listener: TcpListener, doors: web::Data<Doors>) -> anyhow::Result<(Vec<SocketAddr>, Server)> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(doors.clone())
            .configure(routes)
            .wrap(TracingLogger::<crate::telemetry::TurnSpan>::new())
    })
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .listen(listener)
    .context("cannot listen")?;
    let addresses = server.addrs();
    Ok((addresses, server.run()))
}
