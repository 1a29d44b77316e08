//! Tests of rules.

mod effects;
mod errors;
mod reload;

use std::fs;
use std::path::Path;

use chrono::DateTime;
use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::effects::Effect;
use super::*;
use crate::clock::Clock;
use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::payload::Payload;
use crate::rulebook::{Edition, Rulebook, check};
use crate::source::Surroundings;

/// Actions written in Rust.
const RUN: &[&str] = &["confirm_order"];

/// A channel's file.
const CHANNEL: &str = "url = 'https://crm.example.com/'\nsecret_env = 'CRM_SECRET'\n";

/// An events directory with three schemas, a channel and these other files.
fn events_dir(files: &[(&str, &str)]) -> TempDir {
    let money = r#"{"properties": {"amount": {"type": "number"}, "customer": {"type": "string"}, "order": {}}}"#;
    let dir = TempDir::new().unwrap();
    let schemas = [
        ("schemas/payment.confirmed/1.json", money),
        (
            "schemas/inventory.reserved/1.json",
            r#"{"properties": {"warehouse": {}, "order": {}}}"#,
        ),
        ("schemas/any.*/1.json", "{}"),
        (
            "schemas/out/1.json",
            r#"{"required": ["sum"], "properties": {"sum": {"type": "number"}}}"#,
        ),
        ("channels/crm.toml", CHANNEL),
    ];
    for (name, text) in schemas.iter().chain(files) {
        write(dir.path(), name, text);
    }
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn surroundings() -> Surroundings {
    Surroundings::new(Clock::system()).unwrap()
}

fn edition(rule: &str) -> std::sync::Arc<Edition> {
    let dir = events_dir(&[("reactions/rule.toml", rule)]);
    match Rulebook::load(dir.path(), RUN, &surroundings()) {
        Ok(book) => book.edition(),
        Err(errors) => panic!("{errors:#?}"),
    }
}

fn rule(text: &str) -> std::sync::Arc<Rule> {
    std::sync::Arc::clone(edition(text).rules.by_name("rule").unwrap())
}

/// An event about `10042`.
fn scope(event_type: &str, payload: &Value) -> Scope {
    let event = Envelope {
        source: "shop".into(),
        event_id: Id::stored("e-1".to_owned()),
        event_type: EventType::stored(event_type.to_owned()),
        timestamp: DateTime::UNIX_EPOCH,
        entity_id: Id::stored("10042".to_owned()),
        user_id: None,
        schema_version: 1,
        payload: Payload::stored(RawValue::from_string(payload.to_string()).unwrap()),
        traceparent: None,
        hops: 0,
    };
    Scope::of_event(&event, payload)
}

fn seen(payload: Value) -> SeenEvent {
    SeenEvent {
        is_named_by_position: false,
        received_at: DateTime::UNIX_EPOCH,
        source: "test".to_owned(),
        position: 1.into(),
        event_id: Id::stored("e-1".to_owned()),
        entity_id: Id::stored("10042".to_owned()),
        user_id: None,
        timestamp: DateTime::UNIX_EPOCH,
        schema_version: 1,
        traceparent: None,
        hops: 0,
        payload,
    }
}
