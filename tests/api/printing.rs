//! What commands print, and to whom.

use std::process::Stdio;

use rejoinder::Bot;
use rejoinder::testing::TestBot;
use sqlx::ConnectOptions as _;

use crate::serve::rejoinder;

#[tokio::test]
async fn reader_that_goes_away_ends_a_command_quietly() {
    let bot = TestBot::start(Bot::new()).await;
    let commands: [&[&str]; 6] = [
        &["routes"],
        &["routes", "--json"],
        &["events", "dead"],
        &["events", "audit"],
        &["events", "explain", "e1"],
        &["forget", "nobody", "--json"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = rejoinder();
        command
            .env("DATABASE_URL", bot.database().to_url_lossy().as_str())
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
