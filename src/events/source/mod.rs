//! Who may tell of events: each source is a file that says how its requests are verified and what they mean.

mod cloudevents;
mod document;
mod file;
mod handshake;
mod load;
mod mapping;
mod own;
mod paypal;
mod scheme;
mod secret;
mod signed;
mod standard;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod trace;
mod twilio;

use std::fmt;
use std::fmt::Display;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;

use self::handshake::Asks;
pub(crate) use self::handshake::{Handshake, HandshakeStatus};
pub(crate) use self::load::{MadeSecrets, Sources, Surroundings};
use self::mapping::Mapping;
use self::scheme::Scheme;
use self::secret::Secret;
pub(crate) use self::secret::new as new_secret;
use super::{BadEnvelope, Envelope, event_type};
use crate::auth::AuthConfigError;
use crate::auth::secrets::Live;
use crate::clock::Clock;

const FORM: &str = "application/x-www-form-urlencoded";
const VERSION_EXPECTED: &str = "a whole number from 1";

/// One sender of events.
pub(crate) struct Source {
    /// The file's name without `.toml`, and the last part of the address.
    pub(crate) name: Arc<str>,
    /// Whose events are let in longest while there are too many.
    pub(crate) priority: Priority,
    /// How much it may send, and how long it waits.
    pub(crate) limits: Limits,
    /// The types that it may send; those that end in `*` stand for all that begin so.
    types: Vec<String>,
    /// What all its types begin with; types that begin so are no other source's.
    type_prefix: Option<String>,
    /// Whether nobody but the sender can change what the type is read from.
    type_is_signed: bool,
    scheme: Scheme,
    secrets: Live<Secret>,
    /// Whether its secret is made here, for no variable is set.
    has_made_secret: bool,
    asks: Option<Asks>,
    format: Format,
    missing: Vec<String>,
    /// A digest of its file.
    file: [u8; 32],
    clock: Clock,
}

/// Whose events are let in longest while there are too many: those of high priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// Refused first.
    Low,
    /// What a file has that says nothing else.
    #[default]
    Normal,
    /// Refused last.
    High,
}

/// How much a source may send, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a request's body, in bytes.
    pub(crate) body_bytes: usize,
    /// Events in one request.
    pub(crate) batch_items: usize,
    /// How long it waits for the answer, less a margin, in milliseconds.
    pub(crate) deadline_ms: u64,
    /// How far the time of signing may be from now, either way, in seconds.
    pub(crate) tolerance_s: i64,
}

/// A request, before anything is believed of it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// How it was called.
    pub(crate) method: &'a Method,
    /// What stands behind the `?` of the address, as it was sent; empty where there is none.
    pub(crate) query: &'a str,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// The body, byte for byte as it was sent.
    pub(crate) body: &'a [u8],
}

/// A request that is the sender's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Which of the live secrets proved it; 0 is the current one, others are on their way out.
    pub(crate) secret: usize,
}

/// A request that is not taken for the sender's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is not signed, or not wholly (401).
    #[error("{0} is missing")]
    Missing(String),
    /// No live secret proves it (401).
    #[error("the signature is wrong")]
    BadSignature,
    /// The time of signing is none (401).
    #[error("the time of signing cannot be read")]
    BadTimestamp,
    /// It was signed too long ago, or in the future (401).
    #[error("signed {off_by_s} s ago, outside the window")]
    OldTimestamp {
        /// Seconds from then to now; negative in the future.
        off_by_s: i64,
    },
    /// The source has no secrets yet (503).
    #[error("this source is not set up")]
    NotConfigured,
    /// It cannot be verified right now (503).
    #[error("{0}")]
    Unavailable(String),
}

/// A verified request that holds no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotEvents {
    /// The body is not JSON (400).
    #[error("not JSON: {message} at line {line} column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// More events than the source's limit (413).
    #[error("found {found} events, expected at most {limit}")]
    TooMany {
        /// Events in the request.
        found: usize,
        /// Events that a request may have.
        limit: usize,
    },
    /// Something else than events (415).
    #[error("content-type: found {found:?}, expected {expected}")]
    ContentType {
        /// The media type.
        found: String,
        /// Those that are taken.
        expected: &'static str,
    },
}

/// The events of a request, each good or bad.
pub(crate) type Items = Vec<Result<Envelope, BadEnvelope>>;

enum Format {
    Own,
    CloudEvents,
    Mapped(Box<Mapping>),
}

/// When a signature counts.
struct Window {
    /// Seconds since 1970.
    now: i64,
    tolerance: i64,
}

impl Source {
    /// Whether all its variables are set, and its secret is made where none is set.
    pub(crate) fn is_configured(&self) -> bool {
        self.missing.is_empty() && !self.awaits_secret()
    }

    /// Whether its secret is one that is made here, and it has not got it yet.
    pub(crate) fn awaits_secret(&self) -> bool {
        self.has_made_secret && !self.secrets.is_configured()
    }

    /// Gives it the secrets that were made for it, one a line.
    ///
    /// # Errors
    /// When its scheme does not take them; the error does not hold them.
    pub(crate) fn give_secret(&self, secrets: &SecretString) -> Result<(), AuthConfigError> {
        self.secrets.put(secrets)
    }

    /// Whether nobody but the sender can change what the type is read from.
    pub(crate) fn type_is_signed(&self) -> bool {
        self.type_is_signed
    }

    /// The variables that are not set.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether the body is part of the proof; if not, a stranger can be refused before it is read.
    pub(crate) fn needs_body(&self) -> bool {
        self.scheme.needs_body()
    }

    /// Answers the question, if the request is one, that a sender asks before its first event. To be asked first, of
    /// requests of any method; without an answer only a `POST` is an event.
    ///
    /// # Errors
    /// When the question is to be signed and is not, or the source is not set up.
    pub(crate) async fn handshake(&self, request: &Request<'_>) -> Result<Option<Handshake>, Refused> {
        let Some(asks) = &self.asks else { return Ok(None) };
        if !asks.must_be_signed(request) {
            return Ok(asks.answer(request, None).filter(|_| self.is_configured()));
        }
        let secrets = self.secrets.current();
        let Verified { secret } = self.verify(request).await?;
        Ok(asks.answer(request, secrets.get(secret)))
    }

    /// Proves that the request is the sender's own. Nothing of it may be used before.
    ///
    /// Waits at most two seconds, and only where a certificate or a key has to be fetched.
    ///
    /// # Errors
    /// When it is not proven, or cannot be right now.
    pub(crate) async fn verify(&self, request: &Request<'_>) -> Result<Verified, Refused> {
        if !self.is_configured() {
            return Err(Refused::NotConfigured);
        }
        let window = Window {
            now: self.clock.now().timestamp(),
            tolerance: self.limits.tolerance_s,
        };
        let secret = self.scheme.verify(&self.secrets.current(), request, &window).await?;
        Ok(Verified { secret })
    }

    /// The events of a verified request, in its order; `received` is when they happened, where they do not say it.
    ///
    /// # Errors
    /// When there are none in it; an event that is wrong is told in its place.
    pub(crate) fn events(&self, headers: &HeaderMap, body: &[u8], received: DateTime<Utc>) -> Result<Items, NotEvents> {
        let limit = self.limits.batch_items;
        let mut items = match &self.format {
            Format::Own => match media_type(headers).as_str() {
                "" | "application/json" => own::json(&self.name, body, limit)?,
                "application/x-ndjson" | "application/ndjson" => own::lines(&self.name, body, limit)?,
                found => {
                    return Err(NotEvents::ContentType {
                        found: found.to_owned(),
                        expected: "application/json or application/x-ndjson",
                    });
                }
            },
            Format::CloudEvents => cloudevents::read(&self.name, headers, body, received, limit)?,
            Format::Mapped(mapping) => {
                let request = mapping::Request {
                    headers,
                    body,
                    received,
                    digest: &|| self.scheme.digest(headers, body),
                };
                mapping.read_events(&self.name, &request, limit)?
            }
        };
        if let Some(parent) = text(headers, "traceparent").and_then(trace::parent) {
            for event in items.iter_mut().flatten() {
                event.traceparent.get_or_insert_with(|| parent.clone());
            }
        }
        Ok(items)
    }

    /// The headers that sign a body for this source at `now`; nothing where its scheme is not Standard Webhooks, or it
    /// has no secret that both sides know.
    pub(crate) fn sign(&self, id: &str, now: DateTime<Utc>, body: &[u8]) -> Option<[(&'static str, String); 3]> {
        let Scheme::Standard = self.scheme else { return None };
        let secrets = self.secrets.current();
        let key = secrets.iter().find_map(Secret::shared)?;
        Some(standard::sign(key, id, now.timestamp(), body))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            batch_items: 1000,
            deadline_ms: 2500,
            tolerance_s: 300,
        }
    }
}

impl NotEvents {
    fn json(error: &serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
            message: own::plain(error),
        }
    }

    fn check_count(found: usize, limit: usize) -> Result<(), Self> {
        match found <= limit {
            true => Ok(()),
            false => Err(Self::TooMany { found, limit }),
        }
    }
}

impl Window {
    /// Checks a time of signing, in seconds since 1970.
    fn check(&self, text: &str) -> Result<(), Refused> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused::BadTimestamp);
        }
        self.check_seconds(text.parse().map_err(|_| Refused::BadTimestamp)?)
    }

    fn check_seconds(&self, signed_at: i64) -> Result<(), Refused> {
        let off_by_s = self.now.saturating_sub(signed_at);
        match off_by_s.saturating_abs() <= self.tolerance {
            true => Ok(()),
            false => Err(Refused::OldTimestamp { off_by_s }),
        }
    }
}

/// The media type of a body: lower-case, without parameters.
fn media_type(headers: &HeaderMap) -> String {
    let content_type = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// A header that is of visible characters.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn bad(field: &str, found: impl Display, expected: impl Into<String>) -> BadEnvelope {
    BadEnvelope {
        field: field.to_owned(),
        found: found.to_string().chars().take(100).collect(),
        expected: expected.into(),
    }
}

/// A sender's type made one of ours.
fn normal_type(text: &str) -> Result<String, BadEnvelope> {
    let normal = event_type::normal(text);
    match event_type::is_type(&normal) {
        true => Ok(normal),
        false => Err(bad(
            "event_type",
            text,
            "words, separated by full stops, at most 250 bytes",
        )),
    }
}

/// A version of a schema: `1` or `1.0`.
fn version(text: &str) -> Option<u32> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let version: i32 = whole.parse().ok()?;
    u32::try_from(version).ok().filter(|version| *version > 0)
}
