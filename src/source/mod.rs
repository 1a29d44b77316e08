//! Who may tell of events: each source is a file that says how its requests are verified and what they mean.

mod cloudevents;
mod delivery;
mod document;
mod file;
pub(crate) mod generated;
mod handshake;
mod items;
mod load;
mod mapping;
mod own;
mod paypal;
mod providers;
mod request;
mod scheme;
mod secret;
mod signed;
mod standard;
mod surroundings;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod trace;
mod twilio;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

pub(crate) use self::delivery::Delivery;
pub(crate) use self::file::Priority;
use self::handshake::Asks;
pub(crate) use self::handshake::{Handshake, HandshakeStatus};
pub(crate) use self::items::{Items, NotEvents};
pub(crate) use self::load::Sources;
use self::mapping::Mapping;
pub(crate) use self::providers::PROVIDERS;
pub(crate) use self::request::{Refused, Request, Verified};
use self::request::{Window, media_type, text};
use self::scheme::Scheme;
use self::secret::Secret;
pub(crate) use self::secret::new as new_secret;
pub(crate) use self::surroundings::{MadeSecrets, Surroundings};
use crate::auth::AuthConfigError;
use crate::auth::secrets::Live;
use crate::clock::Clock;
use crate::event::pattern::Pattern;

/// One sender of events.
pub(crate) struct Source {
    /// The file's name without `.toml`, and the last part of the address.
    pub(crate) name: Arc<str>,
    /// Whose events are let in longest while there are too many.
    pub(crate) priority: Priority,
    /// How much it may send, and how long it waits.
    pub(crate) limits: Limits,
    /// The types that it may send; those that end in `*` stand for all that begin so.
    types: Vec<Pattern>,
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

enum Format {
    Own,
    CloudEvents,
    Mapped(Box<Mapping>),
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

    /// The events of a delivery, in its order.
    ///
    /// # Errors
    /// When there are none in it; an event that is wrong is told in its place.
    pub(crate) fn events(&self, delivery: &Delivery<'_>) -> Result<Items, NotEvents> {
        let Delivery { headers, body, .. } = *delivery;
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
            Format::CloudEvents => cloudevents::read(&self.name, delivery, limit)?,
            Format::Mapped(mapping) => {
                mapping.read_events(&self.name, delivery, &|| self.scheme.digest(delivery), limit)?
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
