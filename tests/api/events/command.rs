//! The commands of `rejoinder`, run on the database of a bot under test.

use std::path::Path;
use std::process::Command;

use rejoinder::testing::TestBot;
use sqlx::ConnectOptions as _;

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

/// Runs it with this events directory.
pub(crate) async fn run_in(bot: &TestBot, events: &Path, arguments: &[&str]) -> Ran {
    let mut command = rejoinder();
    command
        .env("DATABASE_URL", bot.database().to_url_lossy().as_str())
        .env("USER", "ada")
        .env("EVENTS_DIR", events)
        .args(arguments);
    tokio::task::spawn_blocking(move || ran(command)).await.unwrap()
}

pub(crate) fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
