//! `rejoinder work`: applies events apart from the service that takes them in.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::database::Reached;
use super::{out, program};
use crate::auth::Exposure;
use crate::bot::Bot;
use crate::breakers::Breakers;
use crate::config::{
    DatabaseSettings, Door, DoorSettings, DoorsSettings, Environment, EventSettings, LogFormat, LogSettings,
    NotificationSettings, OperateSettings, ProxySettings, TlsSettings, TraceSettings,
};
use crate::conversation::Conversation;
use crate::events::{Events, Parts};
use crate::guard::{Around, Guard};
use crate::listener::{Server, raise_descriptors};
use crate::operate::figures::Figures;
use crate::operate::{Operated, expect_guarded};
use crate::privacy::{self, expect_private};
use crate::refusals::Refusals;
use crate::telemetry::{self, Metrics};
use crate::terms::Terms;
use crate::tls::Tls;
use crate::upstream;

/// How long connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How long a connection that asks how the worker is may be silent between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Apply events that services take in, until SIGINT or SIGTERM
///
/// Shares the partitions evenly with the other workers of the database, those of services among them, and takes
/// over those of one that is gone within five seconds. Logs to standard error.
#[derive(Args)]
#[group(skip)]
pub(super) struct Work<B: Args> {
    #[command(flatten, next_help_heading = "Worker")]
    operate: OperateSettings,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    notifications: NotificationSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    door: DoorSettings,
    #[command(flatten)]
    tls: TlsSettings,
    #[command(flatten)]
    proxies: ProxySettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    traces: TraceSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Work<B> {
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        telemetry::start(&self.log, &self.traces)?;
        Environment::read::<super::CommandLine<B>>().log();
        let bot = bot(&self.bot);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let worked = runtime.block_on(self.until_signal(bot));
        drop(runtime);
        telemetry::traces::stop();
        worked.map(|()| ExitCode::SUCCESS)
    }

    async fn until_signal(self, bot: Bot) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let reached = Reached::find(&self.database, self.events.events_pool_size).await?;
        let migrated = reached.database.bring_up_to_date(bot.own_migrations()).await;
        migrated.context("the bot's tables are not fit")?;
        let (clock, metrics) = (reached.database.clock().clone(), Metrics::default());
        let refusals = Refusals::new(metrics.events().clone());
        let (_, _, actions) = bot.into_routes()?;
        let breakers = Breakers::default();
        let events = Events::work(Parts {
            database: reached.database.clone(),
            clock: clock.clone(),
            settings: self.events,
            notifications: self.notifications,
            // It takes no events in.
            exposure: Exposure::Loopback,
            data_dir: self.database.data_dir,
            actions,
            conversation: Conversation::new(reached.database.clone(), clock.clone(), metrics.clone()),
            breakers: breakers.clone(),
            metrics: metrics.events().clone(),
            refusals: refusals.clone(),
        })?;
        let watching = tokio::spawn(reached.database.clone().watch());
        let terms = Terms::new(KEEP_ALIVE, raise_descriptors());
        let server = match self.operate.operate_listen {
            None => None,
            Some(listen) => {
                let tls = Tls::new(&self.tls, clock.clone(), metrics.clone())?;
                let around = Around {
                    clock,
                    http: upstream::key_client()?,
                    takes_certificates: tls.as_ref().is_some_and(|tls| tls.takes_clients()),
                    proxies: self.proxies.clone(),
                    refusals,
                    database: Some(reached.database.clone()),
                };
                let doors = DoorsSettings::of_environment(self.door)?;
                let guard = Guard::new(
                    Door::Operate,
                    doors.of(Door::Operate),
                    Exposure::of(listen),
                    &around,
                    None,
                )?;
                expect_guarded("OPERATE_LISTEN", listen, &[&guard])?;
                expect_private("OPERATE_LISTEN", listen, tls.is_some(), &self.proxies)?;
                let proxies = Data::new(self.proxies);
                let operated = Arc::new(Operated {
                    guard,
                    database: reached.database.clone(),
                    metrics,
                    figures: Figures::registry(reached.database.clone(), breakers, None),
                    terms: terms.clone(),
                    fulfillment: None,
                });
                let app = move || {
                    App::new()
                        .app_data(proxies.clone())
                        .configure(|config| Arc::clone(&operated).routes(config))
                        .wrap(from_fn(privacy::guard))
                };
                Some(Server::start(listen, tls, terms.clone(), app).context("OPERATE_LISTEN")?)
            }
        };
        let url = server.as_ref().map(Server::url);
        match (self.log.log_format, url) {
            (LogFormat::Json, url) => info!(url, "applying events"),
            (LogFormat::Text, None) => out::announce(format_args!("{} applies events", program::name())),
            (LogFormat::Text, Some(url)) => {
                out::announce(format_args!(
                    "{} applies events, and tells how it is on {url}",
                    program::name()
                ));
            }
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping: the partitions are given up");
        terms.leave();
        events.stop().await;
        watching.abort();
        if let Some(server) = server {
            server.stop().await;
        }
        if tokio::time::timeout(CLOSE_LIMIT, reached.database.close())
            .await
            .is_err()
        {
            warn!("connections were still in use and are dropped");
        }
        Ok(())
    }
}
