//! CloudEvents 1.0 over HTTP: binary, structured and batched.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use super::delivery::Delivery;
use super::items::{Items, NotEvents, normal_type};
use super::request::{media_type, media_type_of, text};
use super::{time, trace};
use crate::event::bad_envelope::BadEnvelope;
use crate::event::envelope::Envelope;
use crate::event::id::{self, Id};
use crate::event::payload::Payload;
use crate::json::without_place;

#[derive(Default, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    specversion: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dataschema: Option<Cow<'a, str>>,
    #[serde(borrow)]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partitionkey: Option<Cow<'a, str>>,
    #[serde(borrow)]
    userid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dataref: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
}

/// The events of a delivery.
pub(super) fn read(source: &Arc<str>, delivery: &Delivery<'_>, limit: usize) -> Result<Items, NotEvents> {
    let Delivery {
        headers,
        body,
        received,
    } = *delivery;
    let media_type = media_type(headers);
    match media_type.as_str() {
        "application/cloudevents+json" => {
            let event: &RawValue = serde_json::from_slice(body).map_err(|error| NotEvents::json(&error))?;
            Ok(vec![structured(source, event, received)])
        }
        "application/cloudevents-batch+json" => {
            let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| NotEvents::json(&error))?;
            NotEvents::check_count(events.len(), limit)?;
            Ok(events.iter().map(|event| structured(source, event, received)).collect())
        }
        _ if headers.contains_key("ce-specversion") => {
            let data = of_content(&media_type, body).map_err(|error| NotEvents::json(&error))?;
            let attribute = |name| text(headers, name).map(percent_decoded);
            let attributes = Attributes {
                specversion: attribute("ce-specversion"),
                id: attribute("ce-id"),
                source: attribute("ce-source"),
                r#type: attribute("ce-type"),
                time: attribute("ce-time"),
                subject: attribute("ce-subject"),
                dataschema: attribute("ce-dataschema"),
                partitionkey: attribute("ce-partitionkey"),
                userid: attribute("ce-userid"),
                traceparent: attribute("ce-traceparent"),
                dataref: attribute("ce-dataref"),
                data: data.as_deref(),
                ..Attributes::default()
            };
            Ok(vec![envelope(source, &attributes, received)])
        }
        _ => Err(NotEvents::ContentType {
            found: media_type,
            expected: "application/cloudevents+json, application/cloudevents-batch+json, or the ce- headers",
        }),
    }
}

fn structured(source: &Arc<str>, event: &RawValue, received: DateTime<Utc>) -> Result<Envelope, BadEnvelope> {
    let attributes: Attributes<'_> = serde_json::from_str(event.get())
        .map_err(|error| BadEnvelope::new("", without_place(&error), "a CloudEvent with text attributes"))?;
    envelope(source, &attributes, received)
}

fn envelope(source: &Arc<str>, attributes: &Attributes<'_>, received: DateTime<Utc>) -> Result<Envelope, BadEnvelope> {
    let specversion = required("specversion", &attributes.specversion)?;
    if specversion != "1.0" {
        return Err(BadEnvelope::new("specversion", specversion, "1.0"));
    }
    let ce_source = required("source", &attributes.source)?;
    let timestamp = match filled(&attributes.time) {
        Some(text) => time::parse(text).ok_or_else(|| BadEnvelope::new("time", text, "a time of RFC 3339"))?,
        None => received,
    };
    let entity = filled(&attributes.subject).or(filled(&attributes.partitionkey));
    let user = filled(&attributes.userid);
    Ok(Envelope {
        source: Arc::clone(source),
        event_id: event_id(ce_source, required("id", &attributes.id)?)?,
        event_type: normal_type(required("type", &attributes.r#type)?)?,
        timestamp,
        entity_id: Id::parse("entity_id", entity.unwrap_or(ce_source).to_owned())?,
        user_id: user.map(|user| Id::parse("user_id", user.to_owned())).transpose()?,
        schema_version: filled(&attributes.dataschema).and_then(trailing_version).unwrap_or(1),
        payload: Payload::parse(payload(attributes)?)?,
        traceparent: filled(&attributes.traceparent).and_then(trace::parent),
        hops: 0,
    })
}

fn payload(attributes: &Attributes<'_>) -> Result<Box<RawValue>, BadEnvelope> {
    if let Some(data) = attributes.data {
        return Ok(data.to_owned());
    }
    if let Some(digits) = &attributes.data_base64 {
        let bytes = STANDARD
            .decode(digits.as_bytes())
            .map_err(|_| BadEnvelope::new("data_base64", digits, "base64"))?;
        let media_type = filled(&attributes.datacontenttype).unwrap_or_default();
        let data = of_content(&media_type_of(media_type), &bytes)
            .map_err(|error| BadEnvelope::new("data_base64", error, "JSON"))?;
        return Ok(data.unwrap_or_else(null));
    }
    Ok(match filled(&attributes.dataref) {
        Some(place) => raw(&serde_json::json!({ "dataref": place })),
        None => null(),
    })
}

/// Data of this type as JSON: itself, a string where it is text, or else an object that holds its base64.
fn of_content(media_type: &str, data: &[u8]) -> serde_json::Result<Option<Box<RawValue>>> {
    if data.is_empty() {
        return Ok(None);
    }
    if matches!(media_type, "" | "application/json" | "text/json") || media_type.ends_with("+json") {
        return serde_json::from_slice(data).map(Some);
    }
    Ok(Some(match std::str::from_utf8(data) {
        Ok(text) => raw(&text),
        Err(_) => raw(&serde_json::json!({ "base64": STANDARD.encode(data) })),
    }))
}

/// One id for what CloudEvents tells apart by `source` and `id`: the first `#` parts them.
fn event_id(source: &str, id: &str) -> Result<Id, BadEnvelope> {
    let joined = format!("{}#{id}", source.replace('%', "%25").replace('#', "%23"));
    let id = match joined.len() {
        0..=id::MAX => joined,
        // No joined id looks like this, for it has no `#`.
        _ => format!("sha256:{}", hex::encode(Sha256::digest(joined))),
    };
    Id::parse("event_id", id)
}

/// The version that a schema's address ends in, such as `…/order/v2.json` or `…/order-2.1`: its first number.
fn trailing_version(dataschema: &str) -> Option<u32> {
    let path = dataschema.split(['?', '#']).next()?.trim_end_matches('/');
    let path = path.strip_suffix(".json").unwrap_or(path);
    let number = path
        .rfind(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(path, |end| &path[end + 1..]);
    number
        .split('.')
        .find(|part| !part.is_empty())?
        .parse()
        .ok()
        .filter(|version| *version > 0)
}

fn required<'a>(name: &str, attribute: &'a Option<Cow<'_, str>>) -> Result<&'a str, BadEnvelope> {
    filled(attribute).ok_or_else(|| BadEnvelope::new(name, "nothing", "a string"))
}

fn filled<'a>(attribute: &'a Option<Cow<'_, str>>) -> Option<&'a str> {
    attribute.as_deref().filter(|value| !value.is_empty())
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| null())
}

/// A header's value with `%E2%82%AC` and such taken for what they mean (CloudEvents HTTP binding, 3.1.3.2).
fn percent_decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let mut byte = [0];
        match digits.map(|digits| hex::decode_to_slice(digits, &mut byte)) {
            Some(Ok(())) => {
                decoded.push(byte[0]);
                at += 3;
            }
            Some(Err(_)) | None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{event_id, percent_decoded, trailing_version};

    #[test]
    fn ids_of_different_events_differ() {
        let event_id = |source: &str, id: &str| event_id(source, id).unwrap();
        assert_eq!(event_id("/shop", "1").as_str(), "/shop#1");
        assert_ne!(event_id("/shop#1", "2"), event_id("/shop", "1#2"));
        assert_ne!(event_id("/shop%23a", "2"), event_id("/shop#a", "2"));
        let long = "x".repeat(300);
        assert_eq!(event_id(&long, "1").len(), 71);
        assert_ne!(event_id(&long, "1"), event_id(&long, "2"));
    }

    #[test]
    fn version_is_the_number_that_the_schema_ends_in() {
        for (dataschema, version) in [
            ("https://example.com/order/2", Some(2)),
            ("https://example.com/order/v3.json", Some(3)),
            ("https://example.com/order-4.1/", Some(4)),
            ("https://example.com/order/5?x=9#8", Some(5)),
            ("https://example.com/order", None),
            ("https://example.com/order/0", None),
        ] {
            assert_eq!(trailing_version(dataschema), version, "{dataschema}");
        }
    }

    #[test]
    fn header_values_are_percent_decoded() {
        assert_eq!(percent_decoded("Euro%20%E2%82%AC%20%F0%9F%98%80"), "Euro € 😀");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz"), "%zz");
    }
}
