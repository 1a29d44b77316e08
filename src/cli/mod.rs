//! The command line: `serve` (also with no command), `routes`, `chat`, `replay`, `record`, `agent`, `events`, `work`,
//! `forget`, `audit`, `stream-token`, `health`, `migrate`, `init`, `prepare`, `completions`, `man`.

mod actor;
mod agent;
mod audit;
mod chat;
mod completions;
mod database;
mod events;
mod forget;
mod health;
mod init;
mod man;
mod migrate;
mod out;
mod prepare;
mod program;
mod quiet;
mod record;
mod replay;
mod routes;
mod serve;
mod service_url;
mod stream_token;
mod table;
mod work;

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

pub use self::program::Program;
use crate::bot::Bot;
use crate::config::{self, Settings};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct CommandLine<B: Args> {
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
    Chat(chat::Chat),
    Replay(replay::ReplayTurns),
    Record(record::Record),
    Agent(agent::Agent<B>),
    Events(Box<events::Events<B>>),
    Work(Box<work::Work<B>>),
    Forget(forget::Forget),
    Audit(audit::Audit),
    StreamToken(stream_token::StreamToken),
    Health(health::Health),
    Migrate(migrate::Migrate<B>),
    Init(init::Init),
    Prepare(prepare::Prepare),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command line of a program for the bot that `bot` makes of its settings. [`main!`](crate::main) does it for a
/// whole `main`.
pub fn run<B: Args>(program: Program, bot: impl FnOnce(&B) -> Bot) -> ExitCode {
    program.begin();
    let command = program.speak(CommandLine::<B>::command());
    let line = config::read::<CommandLine<B>>(command.clone());
    let done = match line.command {
        None => serve::serve(line.serve, bot),
        Some(Command::Serve(settings)) => serve::serve(*settings, bot),
        Some(Command::Routes(routes)) => routes.print(bot),
        Some(Command::Chat(chat)) => Ok(chat.run()),
        Some(Command::Replay(replay)) => Ok(replay.run()),
        Some(Command::Record(record)) => record.run(),
        Some(Command::Agent(agent)) => Ok(agent.run(bot)),
        Some(Command::Events(events)) => Ok(events.run(bot)),
        Some(Command::Work(work)) => work.run(bot),
        Some(Command::Forget(forget)) => forget.run(),
        Some(Command::Audit(audit)) => audit.run(),
        Some(Command::StreamToken(token)) => token.run(),
        Some(Command::Health(health)) => health.run(),
        Some(Command::Migrate(migrate)) => migrate.run(bot),
        Some(Command::Init(init)) => init.run(),
        Some(Command::Prepare(prepare)) => prepare.run(),
        Some(Command::Completions(completions)) => completions.print(command),
        Some(Command::Man(man)) => man.run(command),
    };
    done.unwrap_or_else(|error| failed(&error, ExitCode::FAILURE))
}

/// Says why a command failed, on standard error; nothing where all that failed is printing to one who is gone.
fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    if out::is_closed(error) {
        return ExitCode::SUCCESS;
    }
    program::complain(format_args!("{error:#}"));
    code
}
