//! Our own envelope: one, an array of them, or one a line.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::items::{self, Items, NotEvents, VERSION_EXPECTED};
use super::time;
use crate::event::bad_envelope::BadEnvelope;
use crate::event::envelope::Envelope;
use crate::event::event_type::{self, EventType};
use crate::event::id::Id;
use crate::event::payload::Payload;
use crate::json::without_place;

/// The fields as they stand, so that a wrong one can be named.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    entity_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The envelopes of a JSON body: an object, or an array of them.
pub(super) fn json(source: &Arc<str>, body: &[u8], limit: usize) -> Result<Items, NotEvents> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        return match serde_json::from_slice::<Wire<'_>>(body) {
            Ok(wire) => Ok(vec![envelope(source, &wire)]),
            Err(error) if error.is_data() => Ok(vec![Err(BadEnvelope::new("", error, "an envelope"))]),
            Err(error) => Err(NotEvents::json(&error)),
        };
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| NotEvents::json(&error))?;
    NotEvents::check_count(items.len(), limit)?;
    Ok(items.iter().map(|item| one(source, item.get())).collect())
}

/// The envelopes of a body with one a line (NDJSON); empty lines are passed over.
pub(super) fn lines(source: &Arc<str>, body: &[u8], limit: usize) -> Result<Items, NotEvents> {
    let lines = || {
        body.split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty())
    };
    NotEvents::check_count(lines().count(), limit)?;
    lines()
        .map(|(number, line)| match serde_json::from_slice::<&RawValue>(line) {
            Ok(item) => Ok(one(source, item.get())),
            Err(error) => Err(NotEvents::Json {
                line: number + 1,
                column: error.column(),
                message: without_place(&error),
            }),
        })
        .collect()
}

fn one(source: &Arc<str>, item: &str) -> Result<Envelope, BadEnvelope> {
    match serde_json::from_str::<Wire<'_>>(item) {
        Ok(wire) => envelope(source, &wire),
        Err(error) => Err(BadEnvelope::new("", without_place(&error), "an envelope")),
    }
}

fn envelope(source: &Arc<str>, wire: &Wire<'_>) -> Result<Envelope, BadEnvelope> {
    let payload = wire
        .payload
        .ok_or_else(|| BadEnvelope::new("payload", "nothing", "a JSON value"));
    Ok(Envelope {
        source: Arc::clone(source),
        event_type: event_type(wire.event_type)?,
        event_id: id("event_id", wire.event_id)?,
        timestamp: timestamp(wire.timestamp)?,
        entity_id: id("entity_id", wire.entity_id)?,
        user_id: match optional("user_id", wire.user_id)? {
            Some(user) => Some(Id::parse("user_id", user)?),
            None => None,
        },
        schema_version: version(wire.schema_version)?,
        payload: Payload::parse(payload?.to_owned())?,
        traceparent: None,
        hops: 0,
    })
}

fn event_type(raw: Option<&RawValue>) -> Result<EventType, BadEnvelope> {
    EventType::parse(required("event_type", raw)?)
        .map_err(|found| BadEnvelope::new("event_type", found, event_type::EXPECTED))
}

fn id(field: &str, raw: Option<&RawValue>) -> Result<Id, BadEnvelope> {
    Id::parse(field, required(field, raw)?)
}

fn required(field: &str, raw: Option<&RawValue>) -> Result<String, BadEnvelope> {
    optional(field, raw)?.ok_or_else(|| BadEnvelope::new(field, "nothing", "a string"))
}

/// A string, or the digits of a whole number; `null` counts as absent.
fn optional(field: &str, raw: Option<&RawValue>) -> Result<Option<String>, BadEnvelope> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
        return Ok(None);
    };
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Some(raw.to_owned()));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(BadEnvelope::new(field, raw, "a string")),
    }
}

fn timestamp(raw: Option<&RawValue>) -> Result<DateTime<Utc>, BadEnvelope> {
    let text = required("timestamp", raw)?;
    time::parse(&text).ok_or_else(|| BadEnvelope::new("timestamp", text, time::EXPECTED))
}

/// `1`, `"1"`, `1.0` or `"1.0"`.
fn version(raw: Option<&RawValue>) -> Result<u32, BadEnvelope> {
    let raw = raw.map_or("", RawValue::get);
    let text = raw.trim_matches('"');
    items::version(text).ok_or_else(|| BadEnvelope::new("schema_version", raw, VERSION_EXPECTED))
}
