//! The bot under test, and the turns that are put to it.

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

/// What the user hears.
pub(crate) fn text(reply: &Value) -> String {
    reply["fulfillmentText"].as_str().unwrap_or_default().to_owned()
}
