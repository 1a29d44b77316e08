//! `rejoinder events`: sending, looking into, and repairing.

mod check;
mod dead;
mod explain;
mod list;
mod quarantine;
mod replay;
mod send;
mod source;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::replay::time;
use super::failed;
use crate::bot::Bot;
use crate::event::file::FileError;

/// Send events, see what became of them, and repair what got stuck.
#[derive(Args)]
#[group(skip)]
pub(super) struct Events<B: Args> {
    #[command(subcommand)]
    command: EventsCommand<B>,
}

#[derive(Subcommand)]
enum EventsCommand<B: Args> {
    Send(send::Send),
    List(list::List),
    Explain(explain::Explain),
    Dead(dead::Dead),
    Redrive(dead::Redrive),
    Discard(dead::Discard),
    Quarantine(quarantine::Quarantine),
    Release(quarantine::Release<B>),
    Replay(Box<replay::ReplayEvents<B>>),
    Check(check::CheckFiles<B>),
    Source(source::Source),
}

impl<B: Args> Events<B> {
    /// Exit codes: 0 done, 1 refused or not found, 2 it could not be tried.
    pub(super) fn run(self, bot: impl FnOnce(&B) -> Bot) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return failed(&error.into(), ExitCode::from(2)),
        };
        let done = runtime.block_on(async {
            match self.command {
                EventsCommand::Send(send) => send.run().await,
                EventsCommand::List(list) => list.run().await,
                EventsCommand::Explain(explain) => explain.run().await,
                EventsCommand::Dead(dead) => dead.run().await,
                EventsCommand::Redrive(redrive) => redrive.run().await,
                EventsCommand::Discard(discard) => discard.run().await,
                EventsCommand::Quarantine(quarantine) => quarantine.run().await,
                EventsCommand::Release(release) => release.run(bot).await,
                EventsCommand::Replay(replay) => replay.run(bot).await,
                EventsCommand::Check(check) => check.run(bot).await,
                EventsCommand::Source(source) => source.print(),
            }
        });
        done.unwrap_or_else(|error| failed(&error, ExitCode::from(2)))
    }
}

/// One error a line.
fn lines(errors: &[FileError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
