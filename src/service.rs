//! The service put together: from settings and a bot to a listening server, and back to rest.

use std::net::{SocketAddr, TcpListener};
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
use crate::config::{AuthSettings, ServerSettings, TurnSettings};
use crate::fulfillment::Fulfillment;
use crate::handler::Services;
use crate::postgres::Database;
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
            clock,
        } = parts;
        let (intents, data) = bot.into_routes()?;
        let auth = Auth::new(&auth, clock.clone(), upstream::client()?)?;
        let services = Arc::new(Services {
            database: database.clone(),
            cache: Cache::new(turns.cache_mib * 1024 * 1024, clock.clone()),
            upstream: Upstream::new()?,
            clock,
            data,
        });
        let metrics = Metrics::default();
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
            metrics,
        });
        let listener =
            TcpListener::bind(server.listen).with_context(|| format!("LISTEN: cannot bind {}", server.listen))?;
        let (addresses, running) = listen(listener, doors)?;
        let handle = running.handle();
        let mut background = JoinSet::new();
        background.spawn(database.clone().watch());
        background.spawn(Arc::clone(&fulfillment).keep_late());
        Ok(Self {
            addresses,
            server: handle,
            serving: tokio::spawn(running),
            fulfillment,
            database,
            background,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The database it answers from.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Takes no more turns, finishes those in flight, and closes the database.
    pub(crate) async fn stop(mut self) {
        let patience = Instant::now() + Duration::from_secs(DRAIN_SECONDS);
        self.server.stop(true).await;
        let left = self
            .fulfillment
            .drain(patience.saturating_duration_since(Instant::now()))
            .await;
        if left > 0 {
            warn!(handlers = left, "handlers were still running and are ended");
        }
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
pub(crate) fn check(bot: &Bot, server: &ServerSettings, auth: &AuthSettings) -> anyhow::Result<()> {
    bot.check()?;
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
