//! `rejoinder serve`: a database, the demo data where it is wanted, and the service, until a signal.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sqlx::postgres::PgConnectOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{out, program};
use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, DoorsSettings, Environment, LogFormat, Settings};
use crate::postgres::embedded::Embedded;
use crate::postgres::{ConnectSettings, Database, NotConnected, SILENCE};
use crate::service::{self, Parts, Service};
use crate::telemetry;

/// How often the private PostgreSQL is looked after.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// How long a database that is starting, too, is waited for, and how often it is asked.
const DATABASE_PATIENCE: Duration = Duration::from_secs(10);
const DATABASE_RETRY: Duration = Duration::from_millis(500);

/// Serves until SIGINT or SIGTERM.
pub(super) fn serve<B: Args>(settings: Settings<B>, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
    telemetry::start(&settings.log, &settings.traces)?;
    Environment::read::<super::CommandLine<B>>().log();
    let bot = bot(&settings.bot);
    settings.turns.check()?;
    let doors = DoorsSettings::of_environment(settings.door.clone())?;
    let is_open = service::check(&bot, &settings.server, &doors, &settings.events)?;
    let private = match settings.database.primary()? {
        Some(_) => None,
        None => Some(Private::start(&settings.database)?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options = private.as_ref().map(|private| private.options.clone());
    let served = runtime.block_on(until_signal(settings, doors, bot, is_open, options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry::traces::stop();
    served.map(|()| ExitCode::SUCCESS)
}

/// The private PostgreSQL, started again when it ends by itself, and stopped when this is dropped.
struct Private {
    options: PgConnectOptions,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Private {
    fn start(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        let embedded = Embedded::start(&settings.data_dir, &settings.programs)
            .with_context(|| format!("DATA_DIR: no private PostgreSQL in {}", settings.data_dir.display()))?;
        info!(data_dir = %settings.data_dir.display(), url = embedded.url(), "private PostgreSQL is running");
        let options = embedded.options();
        let (stop, stopped) = mpsc::channel();
        let keeper = std::thread::spawn(move || keep(embedded, &stopped));
        Ok(Self {
            options,
            stop: Some(stop),
            keeper: Some(keeper),
        })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            warn!("the keeper of the private PostgreSQL had ended");
        }
    }
}

/// Looks after the server until the other end of `stopped` is dropped.
fn keep(mut embedded: Embedded, stopped: &mpsc::Receiver<()>) {
    while stopped.recv_timeout(LOOK_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
        match embedded.revive() {
            Ok(false) => {}
            Ok(true) => warn!("the private PostgreSQL had ended and was started again"),
            Err(error) => warn!(error = %error, "the private PostgreSQL has ended and cannot be started again"),
        }
    }
}

async fn until_signal<B: Args>(
    settings: Settings<B>,
    doors: DoorsSettings,
    bot: Bot,
    is_open: bool,
    private: Option<PgConnectOptions>,
) -> anyhow::Result<()> {
    // Before the start, so that an early Ctrl-C ends it in order, too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Its answer is in the demo data.
    let has_demo = settings.database.demo_data.unwrap_or(private.is_some());
    let example = bot.example_turn().filter(|_| has_demo || bot.demo().is_none());
    let log_format = settings.log.log_format;
    let shutdown_delay = settings.server.shutdown_delay();
    let started = async {
        let database = connect(&settings, private.clone()).await?;
        let migrated = database.bring_up_to_date(bot.own_migrations()).await;
        migrated.context("the bot's tables are not fit")?;
        if let (true, Some(data)) = (has_demo, bot.demo()) {
            database.load(data).await.context("cannot load the demo data")?;
        }
        info!(
            host = database.primary().connect_options().get_host(),
            database = database.primary().connect_options().get_database(),
            demo_data = has_demo,
            "the database answers"
        );
        let Settings {
            server,
            turns,
            events,
            stream,
            notifications,
            ..
        } = settings;
        let clock = database.clock().clone();
        Service::start(Parts {
            bot,
            database,
            server,
            turns,
            doors,
            events,
            stream,
            notifications,
            data_dir: settings.database.data_dir,
            clock,
        })
        .await
    };
    let service = tokio::select! {
        started = started => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    match log_format {
        LogFormat::Text => greet(&service, is_open, example.as_deref()),
        LogFormat::Json => info!(url = service.url(), "serving"),
    }
    let delay = tokio::select! {
        // Whoever presses Ctrl-C has no load balancer to tell.
        _ = interrupt.recv() => Duration::ZERO,
        _ = terminate.recv() => shutdown_delay,
    };
    info!("stopping: turns in flight are finished first; a second signal ends them");
    tokio::select! {
        () = service.stop(delay) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn connect<B: Args>(settings: &Settings<B>, private: Option<PgConnectOptions>) -> anyhow::Result<Database> {
    let primary = match (settings.database.primary()?, private) {
        (Some(primary), _) | (None, Some(primary)) => primary,
        (None, None) => anyhow::bail!("there is no database"),
    };
    let place = format!("{}:{}", primary.get_host(), primary.get_port());
    let connect = ConnectSettings {
        primary,
        replica: settings.database.replica()?,
        pool_size: settings.database.database_pool_size,
        events_pool_size: settings.events.events_pool_size,
        patience: settings.turns.handler_limit(),
        silence: SILENCE,
        clock: Clock::system(),
    };
    let patience = Instant::now() + DATABASE_PATIENCE;
    loop {
        match Database::connect(connect.clone()).await {
            Ok(database) => return Ok(database),
            Err(error) if error.may_pass() && Instant::now() < patience => {
                info!(place, error = %error, "the database is not there yet; trying again");
                tokio::time::sleep(DATABASE_RETRY).await;
            }
            Err(error @ NotConnected::Unreachable(_)) => {
                return Err(error)
                    .with_context(|| format!("DATABASE_URL: expected a PostgreSQL that answers at {place}"));
            }
            Err(error @ (NotConnected::Pooler | NotConnected::Tables(_))) => {
                return Err(error).with_context(|| format!("DATABASE_URL: the database at {place} cannot be used"));
            }
        }
    }
}

/// Where it serves, and a line to try it.
fn greet(service: &Service, is_open: bool, example: Option<&str>) {
    let url = service.url();
    out::announce(format_args!("{} serves on {url}", program::name()));
    if let Some(turn) = example {
        let credentials = if is_open { "" } else { " -H 'Authorization: …'" };
        out::announce(format_args!(
            "\nTry a turn:\n\n  curl {url}/fulfillment{credentials} -H 'Content-Type: application/json' -d '{turn}'\n"
        ));
    }
}
