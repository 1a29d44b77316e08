//! An effect of a rule, on one line for people.

use serde_json::Value;

/// The line of an effect as outcomes have it.
pub(super) fn line(effect: &Value) -> String {
    let text = |name: &str| effect[name].as_str().unwrap_or_default();
    let whom = |name: &str| {
        let recipient = effect[name].as_object().and_then(|recipient| recipient.iter().next());
        recipient.map_or_else(String::new, |(kind, id)| {
            format!("{kind} {}", id.as_str().unwrap_or_default())
        })
    };
    let action = text("action");
    match action {
        "remember" => format!("remember {}: {} = {}", whom("about"), text("name"), effect["value"]),
        "notify" => {
            let (topic, channel) = (text("topic"), text("channel"));
            format!("notify {} ({topic}, {channel}): {}", whom("to"), text("text"))
        }
        "goto" => {
            let (kind, name) = (text("kind"), text("name"));
            format!("goto {kind} {name} for {}: {}", whom("to"), effect["parameters"])
        }
        "call" => format!("call {} {}: {}", text("method"), text("url"), effect["body"]),
        "emit" => format!(
            "emit {} {}: {}",
            text("event_type"),
            text("entity_id"),
            effect["payload"]
        ),
        "run" => format!("run {}", text("name")),
        other => format!("{other} {effect}"),
    }
}
