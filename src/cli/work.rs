//! `rejoinder work`: applies events apart from the service that takes them in.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::database::Reached;
use super::out;
use crate::auth::Exposure;
use crate::bot::Bot;
use crate::config::{DatabaseSettings, Environment, EventSettings, LogSettings, NotificationSettings};
use crate::conversation::Conversation;
use crate::events::{Events, Parts};
use crate::telemetry::{self, Metrics};
use crate::upstream::Upstream;

/// How long connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Apply events that services take in, until SIGINT or SIGTERM
///
/// Shares the partitions evenly with the other workers of the database, those of `rejoinder serve` among them, and takes
/// over those of one that is gone within five seconds. Logs to standard error.
#[derive(Args)]
#[group(skip)]
pub(super) struct Work<B: Args> {
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    notifications: NotificationSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Work<B> {
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        telemetry::start(&self.log)?;
        Environment::read::<super::Line<B>>().log();
        let bot = bot(&self.bot);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(self.until_signal(bot)).map(|()| ExitCode::SUCCESS)
    }

    async fn until_signal(self, bot: Bot) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let reached = Reached::find(&self.database, self.events.events_pool_size).await?;
        let (clock, metrics) = (reached.database.clock().clone(), Metrics::default());
        let (_, _, actions) = bot.into_routes()?;
        let events = Events::work(Parts {
            database: reached.database.clone(),
            clock: clock.clone(),
            settings: self.events,
            notifications: self.notifications,
            // It takes no events in.
            exposure: Exposure::Loopback,
            data_dir: self.database.data_dir,
            actions,
            conversation: Conversation::new(reached.database.clone(), clock, metrics.clone()),
            breakers: Upstream::new()?.breakers(),
            metrics: metrics.events().clone(),
        })?;
        let watching = tokio::spawn(reached.database.clone().watch());
        out::announce("Rejoinder applies events");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping: the partitions are given up");
        events.stop().await;
        watching.abort();
        if tokio::time::timeout(CLOSE_LIMIT, reached.database.close())
            .await
            .is_err()
        {
            warn!("connections were still in use and are dropped");
        }
        Ok(())
    }
}
