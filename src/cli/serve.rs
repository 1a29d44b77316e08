//! `rejoinder serve`: a database, the demo data where it is wanted, and the service, until a signal.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, Settings};
use crate::postgres::embedded::Embedded;
use crate::postgres::{ConnectSettings, Database};
use crate::service::{Parts, Service};
use crate::telemetry;

/// Serves until SIGINT or SIGTERM.
pub(super) fn serve<B: Args>(settings: Settings<B>, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
    telemetry::start(&settings.log)?;
    let bot = bot(&settings.bot);
    bot.check()?;
    // On this thread, which lives as long as the process: the database is told when it ends.
    let embedded = match settings.database.primary()? {
        Some(_) => None,
        None => Some(embedded(&settings.database)?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(until_signal(settings, bot, embedded.as_ref()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(embedded);
    served.map(|()| ExitCode::SUCCESS)
}

fn embedded(settings: &DatabaseSettings) -> anyhow::Result<Embedded> {
    let embedded = Embedded::start(&settings.data_dir, settings.pg_bindir.as_deref())?;
    info!(data_dir = %settings.data_dir.display(), url = embedded.url(), "private PostgreSQL is running");
    Ok(embedded)
}

async fn until_signal<B: Args>(settings: Settings<B>, bot: Bot, embedded: Option<&Embedded>) -> anyhow::Result<()> {
    // Before the start, so that an early Ctrl-C ends it in order, too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let example = bot.example_turn();
    let started = async {
        let database = connect(&settings, embedded).await?;
        let demo = settings.database.demo_data.unwrap_or(embedded.is_some());
        if let (true, Some(data)) = (demo, bot.demo()) {
            database.load(data).await.context("cannot load the demo data")?;
        }
        let Settings {
            server, turns, auth, ..
        } = settings;
        Service::start(Parts {
            bot,
            database,
            server,
            turns,
            auth,
            clock: Clock::system(),
        })
        .await
    };
    let service = tokio::select! {
        started = started => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    greet(&service, example.as_deref());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    info!("stopping: turns in flight are finished first; a second Ctrl-C ends them");
    tokio::select! {
        () = service.stop() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn connect<B: Args>(settings: &Settings<B>, embedded: Option<&Embedded>) -> anyhow::Result<Database> {
    let primary = match (settings.database.primary()?, embedded) {
        (Some(primary), _) => primary,
        (None, Some(embedded)) => embedded.options(),
        (None, None) => anyhow::bail!("there is no database"),
    };
    Database::connect(ConnectSettings {
        primary,
        replica: settings.database.replica()?,
        pool_size: settings.database.database_pool_size,
        patience: settings.turns.handler_limit(),
    })
    .await
}

/// Where it serves, and a line to try it.
fn greet(service: &Service, example: Option<&str>) {
    let url = format!("http://{}", service.address());
    println!("Rejoinder serves on {url}");
    if let Some(turn) = example {
        println!("\nTry a turn:\n\n  curl {url}/fulfillment -H 'Content-Type: application/json' -d '{turn}'\n");
    }
}
