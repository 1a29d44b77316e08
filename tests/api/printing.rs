//! What commands print, and to whom.

use std::process::Stdio;

use rejoinder::Bot;
use rejoinder::testing::TestBot;
use sqlx::ConnectOptions as _;

use crate::events::command::run;
use crate::serve::rejoinder;

#[tokio::test]
async fn user_of_whom_nothing_is_kept_is_said_to_be_unknown() {
    let bot = TestBot::start(Bot::new()).await;
    let unknown = run(&bot, &["forget", "nosuchuser"]).await;
    let said = "rejoinder: nothing is kept of \"nosuchuser\"\n";
    assert_eq!((unknown.code, &*unknown.out, &*unknown.err), (1, "", said));
    let counts = run(&bot, &["forget", "nosuchuser", "--json"]).await;
    assert_eq!(counts.code, 1);
    assert!(counts.out.contains("\"facts\": 0"), "{counts:?}");
}

#[tokio::test]
async fn script_of_completions_knows_the_commands() {
    let bot = TestBot::start(Bot::new()).await;
    let bash = run(&bot, &["completions", "bash"]).await;
    assert_eq!(bash.code, 0);
    assert!(
        bash.out.contains("quarantine") && bash.out.contains("--database-url"),
        "{bash:?}"
    );
    let unknown = run(&bot, &["completions", "klingon"]).await;
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("[possible values: bash"), "{unknown:?}");
}

#[tokio::test]
async fn reader_that_goes_away_ends_a_command_quietly() {
    let bot = TestBot::start(Bot::new()).await;
    let commands: [&[&str]; 6] = [
        &["routes"],
        &["routes", "--json"],
        &["events", "dead"],
        &["events", "audit"],
        &["events", "explain", "e1"],
        &["events", "quarantine", "--json"],
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
