//! The commands of `rejoinder`, run on the database of a bot under test.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::pty::openpty;
use rejoinder::testing::TestBot;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::directory;
use crate::serve::rejoinder;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `rejoinder` with these arguments, with the package's events directory.
pub(crate) async fn run(bot: &TestBot, arguments: &[&str]) -> Ran {
    run_in(bot, &directory::package(), arguments).await
}

/// Runs it on a database that no bot is on.
pub(crate) async fn ran_on(database: &PgConnectOptions, arguments: &[&str]) -> Ran {
    let mut command = rejoinder();
    command
        .env("DATABASE_URL", database.to_url_lossy().as_str())
        .args(arguments);
    tokio::task::spawn_blocking(move || ran(command)).await.unwrap()
}

/// Runs it with this events directory.
pub(crate) async fn run_in(bot: &TestBot, events: &Path, arguments: &[&str]) -> Ran {
    let command = command(bot, events, arguments);
    tokio::task::spawn_blocking(move || ran(command)).await.unwrap()
}

/// Runs it with standard error on a terminal.
pub(crate) async fn run_on_a_terminal(bot: &TestBot, arguments: &[&str]) -> Ran {
    let mut command = command(bot, &directory::package(), arguments);
    let on_a_terminal = move || {
        let terminal = openpty(None, None).unwrap();
        command.stdout(Stdio::piped()).stderr(terminal.slave);
        let child = command.spawn().unwrap();
        // Nobody else has its other end open then: reading ends with the command.
        drop(command);
        let mut err = Vec::new();
        // It ends with an error, on Linux.
        File::from(terminal.master).read_to_end(&mut err).ok();
        let output = child.wait_with_output().unwrap();
        Ran {
            err: String::from_utf8(err).unwrap(),
            ..Ran::of(output)
        }
    };
    tokio::task::spawn_blocking(on_a_terminal).await.unwrap()
}

fn command(bot: &TestBot, events: &Path, arguments: &[&str]) -> Command {
    let mut command = rejoinder();
    command
        .env("DATABASE_URL", bot.database().to_url_lossy().as_str())
        .env("USER", "ada")
        .env("EVENTS_DIR", events)
        .args(arguments);
    command
}

pub(crate) fn ran(mut command: Command) -> Ran {
    Ran::of(command.output().unwrap())
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
