//! Recorded turns, played and recorded by the command line and by the test kit against a bot that serves.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Fail, Params, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rejoinder");

#[derive(Deserialize)]
struct Guest {
    name: String,
}

async fn greet(Params(guest): Params<Guest>) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("Welcome, {}!", guest.name)).source("door"))
}

async fn bot() -> TestBot {
    TestBot::start(Bot::new().intent("Greet", greet)).await
}

fn request(id: &str, name: &str) -> Value {
    json!({
        "responseId": id,
        "session": "projects/p/agent/sessions/door-17",
        "queryResult": {
            "queryText": format!("I am {name}"),
            "languageCode": "en",
            "intent": {"displayName": "Greet"},
            "parameters": {"name": name},
        },
    })
}

fn write(dir: &Path, file: &str, turn: &Value) {
    fs::write(dir.join(file), turn.to_string()).unwrap();
}

async fn run(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(std::env::temp_dir());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn matching_turns_pass_with_a_table_and_exit_code_0() {
    let bot = bot().await;
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "01_a.json",
        &json!({"request": request("a", "Ida"), "reply_has": {"source": "door"}}),
    );
    write(
        dir.path(),
        "02_b.json",
        &json!({"request": {"session": 1}, "status": 400, "reply_has": {"error": {"code": "not_a_turn"}}}),
    );
    let ran = run(&["replay", dir.path().to_str().unwrap(), "--url", &bot.url("")]).await;
    let text = out(&ran);
    assert_eq!(ran.status.code(), Some(0), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[1].contains("01_a.json") && lines[1].contains("Greet") && lines[1].contains("ok"),
        "{text}"
    );
    assert_eq!(lines.last(), Some(&"2 passed, 0 failed"));
    bot.replay(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "reply.fulfillmentText: expected \"Go away!\", came \"Welcome, Ida!\"")]
async fn test_kit_panics_where_a_reply_differs() {
    let bot = bot().await;
    let dir = tempfile::tempdir().unwrap();
    let turn = json!({"request": request("a", "Ida"), "reply_has": {"fulfillmentText": "Go away!"}});
    write(dir.path(), "01_a.json", &turn);
    bot.replay(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_that_differs_fails_until_it_is_accepted() {
    let bot = bot().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (url, json) = (bot.url("/fulfillment"), "--json");
    write(
        dir.path(),
        "01_parts.json",
        &json!({"request": request("a", "Ida"), "reply_has": {"source": "window"}}),
    );
    write(dir.path(), "02_none.json", &json!({"request": request("b", "Bo")}));
    write(
        dir.path(),
        "03_same.json",
        &json!({"request": request("c", "Cy"), "reply_has": {"source": "door"}}),
    );

    let ran = run(&["replay", path, "--url", &url]).await;
    let text = out(&ran);
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(
        text.contains("reply.source: expected \"window\", came \"door\""),
        "{text}"
    );
    assert!(
        text.contains("-  \"source\": \"window\"\n+  \"source\": \"door\"\n"),
        "{text}"
    );
    assert!(text.contains("no reply yet; --accept"), "{text}");
    assert!(
        !text.contains('\x1b') && text.ends_with("\n1 passed, 2 failed\n"),
        "{text}"
    );

    let ran = run(&["replay", path, "--url", &url, json]).await;
    assert_eq!(ran.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(1), &json!(2)));
    assert_eq!(
        report["turns"][0]["differences"],
        json!([{"path": "reply.source", "expected": "window", "came": "door"}])
    );
    assert_eq!(report["turns"][2]["result"], "ok");

    let same = fs::read(dir.path().join("03_same.json")).unwrap();
    let ran = run(&["replay", path, "--url", &url, "--accept"]).await;
    let text = out(&ran);
    assert_eq!(ran.status.code(), Some(0), "{text}");
    let changed: Vec<_> = text.lines().filter(|line| line.starts_with("changed ")).collect();
    assert_eq!(changed.len(), 2, "{text}");
    assert!(changed[0].ends_with("01_parts.json") && changed[1].ends_with("02_none.json"));
    assert_eq!(fs::read(dir.path().join("03_same.json")).unwrap(), same);
    let parts: Value = serde_json::from_slice(&fs::read(dir.path().join("01_parts.json")).unwrap()).unwrap();
    assert_eq!(parts["reply_has"], json!({"source": "door"}));
    bot.replay(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_that_cannot_be_made_has_exit_code_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "01_a.json", &json!({"request": {}}));
    let path = dir.path().to_str().unwrap();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ran = run(&["replay", path, "--url", &format!("http://{free}"), "--json"]).await;
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{error}");
    assert!(
        error.contains(&format!("nothing listens at http://{free}/fulfillment")),
        "{error}"
    );
    assert!(ran.stdout.is_empty());

    let ran = run(&["replay", path, "--header", "s3cret"]).await;
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{error}");
    assert!(!error.contains("s3cret"), "{error}");

    write(dir.path(), "02_b.json", &json!({"request": {}, "wrong": 1}));
    let ran = run(&["replay", path]).await;
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{error}");
    assert!(error.contains("02_b.json") && error.contains("`wrong`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_caller_is_not_accepted_and_a_header_lets_it_in() {
    let bot = Bot::new().intent("Greet", greet);
    let bot = TestBot::start_with(bot, |settings| {
        settings.doors.general.auth.auth_bearer = Some("a-long-enough-opaque-token-0123456789".into());
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let turn = json!({"request": request("a", "Ida"), "reply_has": {"source": "window"}});
    write(dir.path(), "01_a.json", &turn);
    let ran = run(&["replay", path, "--url", &bot.url(""), "--accept"]).await;
    let text = out(&ran);
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(text.contains("--header"), "{text}");
    assert_eq!(
        fs::read_to_string(dir.path().join("01_a.json")).unwrap(),
        turn.to_string()
    );
    let header = "Authorization: Bearer a-long-enough-opaque-token-0123456789";
    let ran = run(&["replay", path, "--url", &bot.url(""), "--header", header, "--accept"]).await;
    assert_eq!(ran.status.code(), Some(0), "{}", out(&ran));
}

/// A relay that runs, with what it prints.
struct Relay {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    url: String,
}

fn relay(dir: &Path, url: &str, count: &str) -> Relay {
    let mut child = Command::new(BINARY)
        .args(["record", dir.to_str().unwrap(), "--url", url])
        .args(["--listen", "127.0.0.1:0", "--count", count])
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let url = first.split_whitespace().nth(1).unwrap().to_owned();
    Relay { child, lines, url }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_turns_are_redacted_and_replay_passes() {
    let bot = bot().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("01_mine.json"), "mine").unwrap();
    let mut relay = relay(&dir, &bot.url(""), "2");
    for (id, name) in [("a", "Ida"), ("b", "Ida")] {
        let body = request(id, name).to_string();
        let post = |url: String| {
            let request = bot.http().post(url).header("content-type", "application/json");
            request.body(body.clone()).send()
        };
        let relayed = post(relay.url.clone()).await.unwrap();
        assert_eq!(relayed.status(), 200);
        let relayed = relayed.bytes().await.unwrap();
        let direct = post(bot.url("/fulfillment")).await.unwrap().bytes().await.unwrap();
        assert_eq!(relayed, direct);
        assert!(relay.lines.next().unwrap().unwrap().ends_with("_greet.json (Greet)"));
    }
    assert!(relay.child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(dir.join("01_mine.json")).unwrap(), "mine");
    fs::remove_file(dir.join("01_mine.json")).unwrap();
    for file in ["02_greet.json", "03_greet.json"] {
        let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(!text.contains("Ida") && !text.contains("door-17"), "{text}");
    }
    bot.replay(&dir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_ends_the_relay_in_order_and_a_missing_service_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut relay = relay(&dir.path().join("made"), &format!("http://{free}"), "1");
    let body = request("a", "Ida").to_string();
    let answer = reqwest::Client::builder().build().unwrap().post(&relay.url).body(body);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains(&format!("no answer from http://{free}/fulfillment"))
    );
    let id = nix::unistd::Pid::from_raw(relay.child.id().try_into().unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(relay.child.wait().unwrap().success());
    assert_eq!(fs::read_dir(dir.path().join("made")).unwrap().count(), 0);
}

#[tokio::test]
async fn relay_listens_on_loopback_only() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&["record", dir.path().to_str().unwrap(), "--listen", "0.0.0.0:0"]).await;
    assert!(!ran.status.success());
    assert!(
        String::from_utf8(ran.stderr)
            .unwrap()
            .contains("expected a loopback address")
    );
}
