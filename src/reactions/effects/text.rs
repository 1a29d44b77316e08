//! What stands in an effect as outcomes have it, for people.

use serde_json::Value;

/// The text of this name.
pub(super) fn text<'a>(effect: &'a Value, name: &str) -> &'a str {
    effect[name].as_str().unwrap_or_default()
}

/// Whom the recipient of this name names.
pub(super) fn whom(effect: &Value, name: &str) -> String {
    let recipient = effect[name].as_object().and_then(|recipient| recipient.iter().next());
    recipient.map_or_else(String::new, |(kind, id)| {
        format!("{kind} {}", id.as_str().unwrap_or_default())
    })
}
