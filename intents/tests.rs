//! The bot under test, and the turns that are put to it.

use std::path::Path;

use chrono::TimeDelta;
use rejoinder::testing::{TestBot, TestSettings, default_settings};
use serde_json::{Value, json};

use crate::settings::Settings;

/// The demo bot with what `change` sets.
pub(crate) async fn start(change: impl FnOnce(&mut Settings)) -> TestBot {
    start_with(change, |_| {}).await
}

/// The demo bot with what `change` sets, in a service with what `serve` sets.
pub(crate) async fn start_with(change: impl FnOnce(&mut Settings), serve: impl FnOnce(&mut TestSettings)) -> TestBot {
    let mut settings: Settings = default_settings();
    change(&mut settings);
    TestBot::start_with(crate::bot(&settings), serve).await
}

/// A turn of this intent, with no response id, so that no two are the same.
pub(crate) fn ask(intent: &str, parameters: Value) -> Value {
    ask_in("s", intent, parameters)
}

/// A turn of this intent in the conversation `session`.
pub(crate) fn ask_in(session: &str, intent: &str, parameters: Value) -> Value {
    json!({
        "session": format!("projects/p/agent/sessions/{session}"),
        "queryResult": {"intent": {"displayName": intent}, "parameters": parameters, "languageCode": "en"},
    })
}

/// Each folder's turns, in the order of their names, on a fresh demo database.
#[tokio::test]
async fn recorded_turns_are_answered_as_recorded() {
    let intents = Path::new(env!("CARGO_MANIFEST_DIR")).join("intents");
    let folders = std::fs::read_dir(intents).unwrap().map(|entry| entry.unwrap().path());
    let is_json = |path: &Path| path.extension().is_some_and(|end| end == "json");
    let holds_turns = |folder: &Path| {
        std::fs::read_dir(folder)
            .unwrap()
            .any(|file| is_json(&file.unwrap().path()))
    };
    let mut played = 0;
    for folder in folders.filter(|path| path.is_dir() && holds_turns(path)) {
        start(|_| {}).await.replay(&folder).await;
        played += 1;
    }
    assert!(played >= 9, "only {played} folders were played");
}

/// The README, as the programs of this test read it.
const README: &str = include_str!("../README.md");

#[tokio::test]
async fn turn_of_the_readme_is_answered_as_printed() {
    let (_, from) = README.split_once("-d '").unwrap();
    let (turn, from) = from.split_once("'\n").unwrap();
    let (_, from) = from.split_once("folded here for reading:\n").unwrap();
    let printed = serde_json::Deserializer::from_str(from).into_iter::<Value>().next();
    let turn: Value = serde_json::from_str(turn).unwrap();
    assert_eq!(start(|_| {}).await.turn(&turn).await, printed.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_turns_are_answered_as_recorded_after_the_events_of_the_readme() {
    let bot = start(|_| {}).await;
    let mut sent = 0;
    for line in README.lines() {
        let Some((_, event)) = line.split_once("cargo run -- events send ") else {
            continue;
        };
        let (event_type, rest) = event.split_once(" --entity ").unwrap();
        let (entity, payload) = rest.split_once(" --payload ").unwrap_or((rest, "'{}'"));
        let payload = serde_json::from_str(payload.trim_matches('\'')).unwrap();
        assert_eq!(bot.send(event_type, entity, payload).await.0, 202, "{line}");
        sent += 1;
    }
    assert!(sent >= 5, "found {sent} events in the README");
    bot.events_applied().await;
    let (_, insert) = README.split_once("-c \"").unwrap();
    let (insert, _) = insert.split_once('"').unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert.to_owned()))
        .execute(bot.pool())
        .await
        .unwrap();
    // Instead of a dead letter that is redriven: the next try.
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    bot.replay("intents").await;
}

/// What the user hears.
pub(crate) fn text(reply: &Value) -> String {
    reply["fulfillmentText"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn page_that_the_bot_brings_along_may_run_its_own_files_only() {
    let bot = start(|_| {}).await;
    let get = async |path: &str| bot.http().get(bot.url(path)).send().await.unwrap();
    let files = [
        ("/chat", "text/html; charset=utf-8", include_str!("chat/page.html")),
        (
            "/chat/script.js",
            "text/javascript; charset=utf-8",
            include_str!("chat/script.js"),
        ),
        (
            "/chat/style.css",
            "text/css; charset=utf-8",
            include_str!("chat/style.css"),
        ),
    ];
    for (path, media, text) in files {
        let answer = get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        let own_only = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ";
        assert!(policy.starts_with(own_only), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-type"], media);
        assert_eq!(answer.text().await.unwrap(), text);
    }
    assert_eq!(bot.http().post(bot.url("/chat")).send().await.unwrap().status(), 405);
    let other = TestBot::start(rejoinder::Bot::new()).await;
    assert_eq!(other.http().get(other.url("/chat")).send().await.unwrap().status(), 404);
}
