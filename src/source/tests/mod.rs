//! Claims about sources: what is let in, and what is made of it.

mod files;
mod formats;
mod handshakes;
mod paypal;
mod recorded;
mod secrets;
mod shipped;
mod signing;
mod standard;
mod tokens;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use super::{Delivery, Handshake, Items, NotEvents, Refused, Request, Source, Sources, Surroundings, Verified};
use crate::clock::Clock;
use crate::event::file::FileError;

/// The second at which the tests' clock stands.
const NOW: i64 = 1_750_000_000;

fn clock() -> Clock {
    clock_at(NOW)
}

fn clock_at(second: i64) -> Clock {
    Clock::held(DateTime::<Utc>::from_timestamp(second, 0).unwrap())
}

/// What sources are read with where these variables are set.
fn surroundings(clock: Clock, variables: &[(&str, &str)]) -> Surroundings {
    let variables: HashMap<String, String> = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    Surroundings {
        variable: Arc::new(move |name: &str| variables.get(name).cloned()),
        ..Surroundings::new(clock).unwrap()
    }
}

/// The sources of `dir`, where these variables are set; all that is wrong where anything is.
fn load(dir: &Path, clock: Clock, variables: &[(&str, &str)]) -> Result<Sources, Vec<FileError>> {
    match Sources::load(dir, &surroundings(clock, variables), None) {
        (sources, errors) if errors.iter().all(|error| !error.is_error()) => Ok(sources),
        (_, errors) => Err(errors),
    }
}

/// A source that has this file; `SECRET`, `URL` and `TOKEN` are the variables that are set.
fn try_source(file: &str, secret: &str) -> Result<Arc<Source>, FileError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("shop.toml"), file).unwrap();
    let variables = [
        ("SECRET", secret),
        ("URL", "https://bot.example/events/shop"),
        ("TOKEN", "verify-me"),
    ];
    let sources = load(dir.path(), clock(), &variables).map_err(|mut errors| errors.remove(0))?;
    Ok(Arc::clone(sources.get("shop").unwrap()))
}

/// A source of envelopes with this scheme.
fn source(scheme: &str, secret: &str) -> Arc<Source> {
    let file = format!("format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme = {scheme}\n");
    try_source(&file, secret).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (
            HeaderName::try_from(name.to_string()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

async fn verify_at(source: &Source, query: &str, pairs: &[(&str, &str)], body: &[u8]) -> Result<Verified, Refused> {
    let headers = headers(pairs);
    let request = Request {
        method: "POST",
        query,
        headers: &headers,
        body,
    };
    source.verify(&request).await
}

async fn verify(source: &Source, pairs: &[(&str, &str)], body: &[u8]) -> Result<Verified, Refused> {
    verify_at(source, "", pairs, body).await
}

async fn ask(
    source: &Source,
    method: &str,
    query: &str,
    pairs: &[(&str, &str)],
    body: &[u8],
) -> Result<Option<Handshake>, Refused> {
    let headers = headers(pairs);
    let request = Request {
        method,
        query,
        headers: &headers,
        body,
    };
    source.handshake(&request).await
}

/// The events of what is delivered now.
fn events(source: &Source, pairs: &[(&str, &str)], body: &str) -> Result<Items, NotEvents> {
    source.events(&Delivery {
        headers: &headers(pairs),
        body: body.as_bytes(),
        received: clock().now(),
    })
}

/// HMAC-SHA256, made here and not by the code under test.
fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex_mac(key: &str, message: &str) -> String {
    hex::encode(mac(key.as_bytes(), message.as_bytes()))
}

fn base64_mac(key: &str, message: &str) -> String {
    STANDARD.encode(mac(key.as_bytes(), message.as_bytes()))
}
