//! The command line: `serve` (also with no command), `routes`, `replay`, `record`, `events`, `work`, `forget`, `health`,
//! `migrate`, `completions`.

mod actor;
mod completions;
mod database;
mod events;
mod forget;
mod health;
mod migrate;
mod out;
mod progress;
mod record;
mod replay;
mod routes;
mod serve;
mod service_url;
mod table;
mod work;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::bot::Bot;
use crate::config::{self, Settings};

/// Answers a chatbot's turns from Postgres, in time.
#[derive(Parser)]
#[command(name = "rejoinder", version, args_conflicts_with_subcommands = true)]
struct Line<B: Args> {
    #[command(subcommand)]
    command: Option<Command<B>>,
    #[command(flatten)]
    serve: Settings<B>,
}

#[derive(Subcommand)]
enum Command<B: Args> {
    /// Serve turns (what happens with no command, too)
    Serve(Box<Settings<B>>),
    /// Print the table of intents
    Routes(routes::Routes<B>),
    Replay(replay::Replay),
    Record(record::Record),
    Events(Box<events::Events<B>>),
    Work(Box<work::Work<B>>),
    Forget(forget::Forget),
    Health(health::Health),
    Migrate(migrate::Migrate<B>),
    Completions(completions::Completions),
}

/// Runs the command line for the bot that `bot` makes of its settings: the whole `main` of a deployment.
pub fn run<B: Args>(bot: impl FnOnce(&B) -> Bot) -> ExitCode {
    let line = config::read::<Line<B>>();
    let done = match line.command {
        None => serve::serve(line.serve, bot),
        Some(Command::Serve(settings)) => serve::serve(*settings, bot),
        Some(Command::Routes(routes)) => routes.print(bot),
        Some(Command::Replay(replay)) => Ok(replay.run()),
        Some(Command::Record(record)) => record.run(),
        Some(Command::Events(events)) => Ok(events.run(bot)),
        Some(Command::Work(work)) => work.run(bot),
        Some(Command::Forget(forget)) => forget.run(),
        Some(Command::Health(health)) => health.run(),
        Some(Command::Migrate(migrate)) => migrate.run(bot),
        Some(Command::Completions(completions)) => completions.print::<Line<B>>(),
    };
    done.unwrap_or_else(|error| failed(&error, ExitCode::FAILURE))
}

/// Says why a command failed, on standard error; nothing where all that failed is printing to one who is gone.
fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    if out::is_closed(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("rejoinder: {error:#}");
    code
}
