//! From what a provider sends to envelopes: expressions that a source file gives, compiled when it is loaded.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use http::HeaderValue;
use minijinja::value::ValueKind;
use minijinja::{Value, context};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use toml::Spanned;

use super::delivery::Delivery;
use super::document::{at, document};
use super::file::EventTable;
use super::items::{self, Items, NotEvents, VERSION_EXPECTED, normal_type};
use super::time;
use crate::event::bad_envelope::BadEnvelope;
use crate::event::envelope::Envelope;
use crate::event::file::braces;
use crate::event::id::Id;
use crate::event::payload::Payload;
use crate::expression::Expression;

/// What an expression may look at.
const VARIABLES: [&str; 6] = ["body", "headers", "item", "received", "sha256", "source"];

/// Where a provider's body and headers have the fields of an envelope.
pub(super) struct Mapping {
    each: Option<Path>,
    type_prefix: String,
    event_id: Field,
    event_type: Field,
    timestamp: Option<Field>,
    entity_id: Field,
    user_id: Option<Field>,
    schema_version: Option<Field>,
    payload: Path,
    /// Whether any expression asks for the digest, which costs time.
    digests: bool,
}

/// One expression.
struct Field {
    name: &'static str,
    text: String,
    /// Where it begins in the file.
    start: usize,
    expression: Expression,
}

/// A place in the body or in an item: names of members, one in the other.
struct Path {
    of_item: bool,
    members: Vec<String>,
}

/// What is wrong with a table, and at which byte of the file.
pub(super) struct BadTable {
    pub(super) offset: usize,
    pub(super) message: String,
}

impl Mapping {
    /// Compiles the expressions.
    pub(super) fn read(table: EventTable) -> Result<Self, BadTable> {
        let field = |name, text: Spanned<String>| Field::compile(name, text);
        let optional = |name, text: Option<Spanned<String>>| text.map(|text| Field::compile(name, text)).transpose();
        let each = table.each.map(|path| Path::read(&path)).transpose()?;
        let payload = match &table.payload {
            Some(path) => Path::read(path)?,
            None => Path {
                of_item: each.is_some(),
                members: Vec::new(),
            },
        };
        let mut mapping = Self {
            type_prefix: table.type_prefix.map(Spanned::into_inner).unwrap_or_default(),
            event_id: field("event_id", table.event_id)?,
            event_type: field("event_type", table.event_type)?,
            timestamp: optional("timestamp", table.timestamp)?,
            entity_id: field("entity_id", table.entity_id)?,
            user_id: optional("user_id", table.user_id)?,
            schema_version: optional("schema_version", table.schema_version)?,
            each,
            payload,
            digests: false,
        };
        let digests = mapping.fields().any(|field| field.uses("sha256"));
        mapping.digests = digests;
        Ok(mapping)
    }

    /// The headers that the type is read from.
    pub(super) fn type_headers(&self) -> impl Iterator<Item = &str> {
        header_names(&self.event_type.text).map(|(name, _)| name)
    }

    /// The headers that the id is read from, each with its offset in the file.
    pub(super) fn id_headers(&self) -> impl Iterator<Item = (&str, usize)> {
        let names = header_names(&self.event_id.text);
        names.map(|(name, offset)| (name, self.event_id.start + offset))
    }

    /// The envelopes of a delivery; one that cannot be made is told in its place. `digest` is of what was signed.
    pub(super) fn read_events(
        &self,
        source: &Arc<str>,
        delivery: &Delivery<'_>,
        digest: &dyn Fn() -> [u8; 32],
        limit: usize,
    ) -> Result<Items, NotEvents> {
        let Delivery {
            headers,
            body,
            received,
        } = *delivery;
        let document = document(headers, body)?;
        let whole = value(&document)?;
        let items: Vec<&RawValue> = match &self.each {
            None => vec![&document],
            Some(path) => {
                let array = at(&document, &path.members).map(RawValue::get);
                match serde_json::from_str(array.unwrap_or_default()) {
                    Ok(items) => items,
                    Err(_) => {
                        let found = if array.is_some() { "something else" } else { "nothing" };
                        return Ok(vec![Err(BadEnvelope::new(
                            &path.members.join("."),
                            found,
                            "an array of events",
                        ))]);
                    }
                }
            }
        };
        NotEvents::check_count(items.len(), limit)?;
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers: BTreeMap<String, String> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), text(value)?)))
            .collect();
        let shared = context! {
            body => whole,
            headers,
            source => &**source,
            received => received.to_rfc3339_opts(SecondsFormat::Micros, true),
        };
        items
            .into_iter()
            .map(|item| {
                let item_value = match self.each {
                    Some(_) => value(item)?,
                    None => Value::UNDEFINED,
                };
                let digest = self.digests.then(|| match self.each {
                    Some(_) => hex::encode(Sha256::digest(item.get())),
                    None => hex::encode(digest()),
                });
                let scope = context! { item => item_value, sha256 => digest, ..shared.clone() };
                Ok(self.envelope(source, &scope, &document, item, received))
            })
            .collect()
    }

    fn envelope(
        &self,
        source: &Arc<str>,
        scope: &Value,
        document: &RawValue,
        item: &RawValue,
        received: DateTime<Utc>,
    ) -> Result<Envelope, BadEnvelope> {
        let event_type = format!("{}{}", self.type_prefix, self.event_type.required(scope)?);
        let whole = if self.payload.of_item { item } else { document };
        let payload = at(whole, &self.payload.members)
            .ok_or_else(|| BadEnvelope::new("payload", "nothing", self.payload.members.join(".")))?;
        Ok(Envelope {
            source: Arc::clone(source),
            event_id: self.event_id.id(scope)?,
            event_type: normal_type(&event_type)?,
            timestamp: match &self.timestamp {
                Some(field) => {
                    let text = field.required(scope)?;
                    time::parse(&text).ok_or_else(|| BadEnvelope::new(field.name, text, time::EXPECTED))?
                }
                None => received,
            },
            entity_id: self.entity_id.id(scope)?,
            user_id: match &self.user_id {
                Some(field) => field.optional_id(scope)?,
                None => None,
            },
            schema_version: match &self.schema_version {
                Some(field) => {
                    let text = field.required(scope)?;
                    items::version(&text).ok_or_else(|| BadEnvelope::new(field.name, text, VERSION_EXPECTED))?
                }
                None => 1,
            },
            payload: Payload::parse(payload.to_owned())?,
            traceparent: None,
            hops: 0,
        })
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        let required = [&self.event_id, &self.event_type, &self.entity_id];
        let optional = [&self.timestamp, &self.user_id, &self.schema_version];
        required.into_iter().chain(optional.into_iter().flatten())
    }
}

impl Field {
    fn compile(name: &'static str, text: Spanned<String>) -> Result<Self, BadTable> {
        // Behind the quotation mark.
        let start = text.span().start + 1;
        let text = text.into_inner();
        if let Some((offset, message)) = braces(&text) {
            return Err(BadTable {
                offset: start + offset,
                message: format!("{name}: {message}"),
            });
        }
        let expression = Expression::compile_lenient(&text).map_err(|error| BadTable {
            offset: start + error.offset,
            message: format!("{name}: {}", error.message),
        })?;
        let unknown = expression
            .variables()
            .into_iter()
            .find(|variable| !VARIABLES.contains(&variable.as_str()));
        if let Some(unknown) = unknown {
            return Err(BadTable {
                offset: start + text.find(&unknown).unwrap_or(0),
                message: format!("{name}: found `{unknown}`, expected one of {}", VARIABLES.join(", ")),
            });
        }
        Ok(Self {
            name,
            text,
            start,
            expression,
        })
    }

    fn uses(&self, variable: &str) -> bool {
        self.expression.variables().contains(variable)
    }

    fn required(&self, scope: &Value) -> Result<String, BadEnvelope> {
        self.text(scope)?
            .ok_or_else(|| BadEnvelope::new(self.name, "nothing", format!("a value at {}", self.text)))
    }

    fn id(&self, scope: &Value) -> Result<Id, BadEnvelope> {
        Id::parse(self.name, self.required(scope)?)
    }

    fn optional_id(&self, scope: &Value) -> Result<Option<Id>, BadEnvelope> {
        self.text(scope)?.map(|text| Id::parse(self.name, text)).transpose()
    }

    /// What the expression gives, as text; undefined, `null` and empty text are nothing.
    fn text(&self, scope: &Value) -> Result<Option<String>, BadEnvelope> {
        let wrong =
            |found: &dyn Display| BadEnvelope::new(self.name, found, format!("a string or a number at {}", self.text));
        let value = self.expression.value(scope).map_err(|error| wrong(&error))?;
        let kind = value.kind();
        if matches!(kind, ValueKind::Undefined | ValueKind::None) {
            Ok(None)
        } else if let Some(text) = value.as_str() {
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        } else if kind == ValueKind::Number {
            Ok(Some(value.to_string()))
        } else {
            Err(wrong(&kind))
        }
    }
}

impl Path {
    fn read(path: &Spanned<String>) -> Result<Self, BadTable> {
        let text = path.get_ref();
        let mut members = text.split('.').map(str::to_owned);
        let first = members.next().unwrap_or_default();
        let members: Vec<String> = members.collect();
        let is_name = |name: &String| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
        };
        if !matches!(first.as_str(), "body" | "item") || !members.iter().all(is_name) {
            return Err(BadTable {
                offset: path.span().start,
                message: format!("found {text:?}, expected a path such as \"body.data.object\""),
            });
        }
        Ok(Self {
            of_item: first == "item",
            members,
        })
    }
}

/// The headers that an expression reads by `headers['name']`, `headers["name"]` or `headers.name`, with their offsets.
fn header_names(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let is_whole = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
    let words = text.match_indices("headers").filter(move |(at, _)| is_whole(*at));
    words.filter_map(|(at, word)| {
        let start = at + word.len();
        let rest = &text[start..];
        let opening = rest.len() - rest.trim_start_matches(['.', '[', '\'', '"', ' ']).len();
        let name = &rest[opening..];
        let end = name.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'));
        (opening > 0).then(|| (&name[..end.unwrap_or(name.len())], start + opening))
    })
}

fn value(json: &RawValue) -> Result<Value, NotEvents> {
    serde_json::from_str(json.get()).map_err(|error| NotEvents::json(&error))
}
