//! The bot under test, and the turns that are put to it.

use std::path::{Path, PathBuf};

use rejoinder::testing::{TestBot, TestSettings, default_settings};
use rstest::rstest;
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

#[rstest]
#[case("get_account_balance")]
#[case("recent_transactions")]
#[case("order_status")]
#[case("product_stock")]
#[case("exchange_rate")]
#[case("book_appointment")]
#[case("verify_identity")]
#[case("fallback")]
#[tokio::test]
async fn recorded_turns_are_answered_as_recorded(#[case] intent: &str) {
    let bot = start(|_| {}).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("intents").join(intent);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{intent} has {} recorded turns", files.len());
    for path in files {
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let reply = bot.turn(&recorded["request"]).await;
        assert_eq!(reply, recorded["reply"], "{}", path.display());
    }
}

/// What the user hears.
pub(crate) fn text(reply: &Value) -> String {
    reply["fulfillmentText"].as_str().unwrap_or_default().to_owned()
}
