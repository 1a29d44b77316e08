//! What commands print, and to whom.

use std::process::Stdio;

use rejoinder::Bot;
use rejoinder::testing::TestBot;
use serde_json::json;
use sqlx::ConnectOptions as _;

use crate::events::command::{Ran, ran, run, run_on_a_terminal};
use crate::events::shop;
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

#[test]
fn manual_has_a_page_for_each_command_and_says_nothing_of_who_wrote_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("share/man1");
    let man = |arguments: &[&str]| {
        let mut command = rejoinder();
        command.env("USER", "ada").arg("man").args(arguments);
        ran(command)
    };
    let version = env!("CARGO_PKG_VERSION");
    let page = man(&[]);
    assert_eq!(page.code, 0, "{page:?}");
    for told in [
        &format!(".TH rejoinder 1  \"rejoinder {version}\""),
        "rejoinder\\-forget(1)",
        "the \\fBLISTEN\\fR environment variable",
    ] {
        assert!(page.out.contains(told), "{told} is not in\n{}", page.out);
    }
    let written = man(&["--dir", dir.to_str().unwrap()]);
    let pages = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(
        written.out,
        format!("{}: {pages} pages\n", dir.display()),
        "{written:?}"
    );
    let of = |command: &str| std::fs::read_to_string(dir.join(format!("{command}.1"))).unwrap();
    assert_eq!(of("rejoinder"), page.out);
    let redrive = of("rejoinder-events-redrive");
    for told in [
        &format!(".TH rejoinder-events-redrive 1  \"rejoinder {version}\""),
        "Apply dead letters anew",
        "for the audit trail",
    ] {
        assert!(redrive.contains(told), "{told} is not in\n{redrive}");
    }
    assert!(!redrive.contains("ada"), "{redrive}");
}

/// A shop with 600 dead letters, an event in quarantine, and a user of whom something is kept.
async fn shop_in_trouble() -> TestBot {
    let bot = shop::open_with(|settings| settings.events.events_work = false).await;
    assert_eq!(bot.send("order.lost", "10042", json!({})).await.0, 422);
    sqlx::query(
        "insert into rejoinder.dead_letters
         select n, 0, 'e' || n, now(), 'generic', 'id' || n, 'order.shipped', '{}', 5, 'x', now() from generate_series(1, 600) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    sqlx::query("insert into rejoinder.facts values ('user', 'bob', 'name', '\"Bob\"', null, now())")
        .execute(bot.pool())
        .await
        .unwrap();
    bot
}

#[tokio::test]
async fn terminal_sees_how_far_a_command_is() {
    let bot = shop_in_trouble().await;
    let seen = async |arguments: &[&str]| run_on_a_terminal(&bot, arguments).await;
    let redriven = seen(&["events", "redrive", "--all"]).await;
    let far = "\r500 of 600 dead letters\r600 of 600 dead letters\r\n";
    assert_eq!((redriven.code, &*redriven.err), (0, far), "{redriven:?}");
    let released = seen(&["events", "release"]).await;
    assert_eq!(
        (released.code, &*released.err),
        (0, "\r1 of 1 events\r\n"),
        "{released:?}"
    );
    let forgotten = seen(&["forget", "bob"]).await;
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    assert!(
        forgotten.err.starts_with("\r1 of 8 steps\r2 of 8 steps"),
        "{forgotten:?}"
    );
    assert!(forgotten.err.ends_with("\r8 of 8 steps\r\n"), "{forgotten:?}");
}

#[tokio::test]
async fn nobody_is_told_how_far_a_command_is_that_is_piped_or_quiet() {
    let bot = shop_in_trouble().await;
    let said = |ran: Ran| (ran.code, ran.out, ran.err);
    let piped = run(&bot, &["events", "redrive", "id1", "id2"]).await;
    let given_back = "2 given back to the workers\n".to_owned();
    assert_eq!(said(piped), (0, given_back, String::new()));
    for quiet in [
        &["events", "redrive", "--all", "--quiet"][..],
        &["events", "release", "-q"],
        &["events", "check", "-q"],
        &["forget", "bob", "-q"],
        &["migrate", "-q"],
    ] {
        let ran = run_on_a_terminal(&bot, quiet).await;
        assert_eq!(said(ran), (0, String::new(), String::new()), "{quiet:?}");
    }
    let unknown = run_on_a_terminal(&bot, &["forget", "nosuchuser", "-q"]).await;
    let complaint = "rejoinder: nothing is kept of \"nosuchuser\"\r\n".to_owned();
    assert_eq!(said(unknown), (1, String::new(), complaint));
    let asked_for = run(&bot, &["forget", "nosuchuser", "-q", "--json"]).await;
    assert!(asked_for.out.contains("\"facts\": 0"), "{asked_for:?}");
}

#[tokio::test]
async fn reader_that_goes_away_ends_a_command_quietly() {
    let bot = TestBot::start(Bot::new()).await;
    let commands: [&[&str]; 6] = [
        &["routes"],
        &["routes", "--json"],
        &["events", "dead"],
        &["audit"],
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
