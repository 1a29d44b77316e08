//! Keys that an issuer publishes: fetched when needed, kept while they are good, and through its outages.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use moka::future::Cache;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use super::Why;
use super::token::{Token, TokenKey};
use crate::clock::Clock;

/// One fetch, from connecting to the last byte; it has to leave time for the turn.
const FETCH_LIMIT: Duration = Duration::from_secs(2);
/// A longer key set is refused, in bytes; Google's has three thousand.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// More keys than this are not read: a token without a key id is tried with each.
const MAX_KEYS: usize = 64;

/// Bounds of the time that keys count as fresh, and what it is when the issuer does not say, in seconds.
const MIN_FRESH_SECONDS: i64 = 60;
const MAX_FRESH_SECONDS: i64 = 24 * 60 * 60;
const DEFAULT_FRESH_SECONDS: i64 = 60 * 60;
/// How long keys are still used when they are no longer fresh and cannot be fetched, in seconds.
const MAX_STALE_SECONDS: i64 = 24 * 60 * 60;

/// Least time between two fetches, in seconds, whoever asks.
const FETCH_GAP_SECONDS: i64 = 10;
/// The same while there are no keys at all.
const FIRST_FETCH_GAP_SECONDS: i64 = 2;
/// How long a key id counts as unknown after a fetch that did not bring it, in seconds.
const UNKNOWN_SECONDS: i64 = 60;
const MAX_UNKNOWN: u64 = 1024;

/// An issuer's published keys; clones share them.
#[derive(Clone)]
pub(crate) struct Jwks(Arc<Source>);

struct Source {
    url: Url,
    http: reqwest::Client,
    clock: Clock,
    keys: ArcSwapOption<KeySet>,
    /// Held by the fetch in flight, of which there is one at most.
    flight: Arc<Mutex<()>>,
    /// When the last fetch began, in seconds since 1970, whether or not it succeeded.
    attempted_at: AtomicI64,
    /// Key ids that the last fetch did not bring, with the time of asking.
    unknown: Cache<String, i64>,
}

struct KeySet {
    keys: Vec<TokenKey>,
    fetched_at: i64,
    fresh_seconds: i64,
}

impl Jwks {
    pub(crate) fn new(url: Url, http: reqwest::Client, clock: Clock) -> Self {
        let unknown = Cache::builder()
            .max_capacity(MAX_UNKNOWN)
            .time_to_live(Duration::from_secs(UNKNOWN_SECONDS as u64))
            .build();
        Self(Arc::new(Source {
            url,
            http,
            clock,
            keys: ArcSwapOption::empty(),
            flight: Arc::new(Mutex::new(())),
            attempted_at: AtomicI64::new(i64::MIN),
            unknown,
        }))
    }

    /// Starts a fetch in the background, if none is under way and one is allowed; needs a tokio runtime.
    pub(crate) fn fetch_in_background(&self) {
        if let Ok(flight) = Arc::clone(&self.0.flight).try_lock_owned() {
            self.start_fetch(flight);
        }
    }

    /// Proves a token with the published key that it names, or with any when it or the keys have no id.
    ///
    /// Waits for a fetch, two seconds at most, when there are no usable keys or the key id is a new one.
    pub(crate) async fn verify(&self, token: &Token<'_>) -> Result<(), Why> {
        let kid = token.kid.as_deref();
        let mut keys = self.usable().await.ok_or(Why::KeysUnavailable)?;
        if let Some(kid) = kid
            && !keys.may_hold(kid)
            && !self.is_known_unknown(kid).await
        {
            let before = Arc::clone(&keys);
            self.fetch().await;
            keys = self.0.keys.load_full().ok_or(Why::KeysUnavailable)?;
            // Unknown only when a fetch really took place: a key may have been published since the last one.
            if !keys.may_hold(kid) && !Arc::ptr_eq(&before, &keys) {
                self.0.unknown.insert(kid.to_owned(), self.now()).await;
            }
        }
        token.verify(keys.fitting(kid))
    }

    /// The keys, unless they are too old; old ones are renewed in the background.
    async fn usable(&self) -> Option<Arc<KeySet>> {
        let now = self.now();
        match self.0.keys.load_full() {
            Some(keys) if keys.is_fresh(now) => Some(keys),
            Some(keys) if keys.is_usable(now) => {
                self.fetch_in_background();
                Some(keys)
            }
            Some(_) | None => {
                self.fetch().await;
                self.0.keys.load_full().filter(|keys| keys.is_usable(now))
            }
        }
    }

    async fn is_known_unknown(&self, kid: &str) -> bool {
        let asked_at = self.0.unknown.get(kid).await;
        asked_at.is_some_and(|asked_at| (0..UNKNOWN_SECONDS).contains(&(self.now() - asked_at)))
    }

    /// Fetches, or waits for the fetch in flight; does nothing when the last one was just now.
    async fn fetch(&self) {
        let flight = Arc::clone(&self.0.flight).lock_owned().await;
        if let Some(fetch) = self.start_fetch(flight)
            && let Err(error) = fetch.await
        {
            tracing::error!(%error, "the fetch of published keys broke off");
        }
    }

    // A task of its own, so that a caller who hangs up does not break off the fetch that others wait for.
    fn start_fetch(&self, flight: OwnedMutexGuard<()>) -> Option<tokio::task::JoinHandle<()>> {
        let now = self.now();
        let gap = if self.0.keys.load().is_some() {
            FETCH_GAP_SECONDS
        } else {
            FIRST_FETCH_GAP_SECONDS
        };
        if (0..gap).contains(&now.saturating_sub(self.0.attempted_at.load(Ordering::Acquire))) {
            return None;
        }
        self.0.attempted_at.store(now, Ordering::Release);
        let source = Arc::clone(&self.0);
        Some(tokio::spawn(async move {
            let _flight = flight;
            match source.download(now).await {
                Ok(set) => source.keys.store(Some(Arc::new(set))),
                Err(error) => {
                    let has_keys = source.keys.load().is_some();
                    tracing::warn!(
                        url = public(&source.url),
                        has_keys,
                        "cannot fetch published keys: {error:#}"
                    );
                }
            }
        }))
    }

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp()
    }
}

impl Source {
    async fn download(&self, now: i64) -> anyhow::Result<KeySet> {
        let request = self.http.get(self.url.clone()).timeout(FETCH_LIMIT);
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        ensure!(response.status().is_success(), "status {}", response.status());
        let fresh_seconds = fresh_seconds(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            body.extend_from_slice(&chunk);
            ensure!(body.len() <= MAX_BODY_BYTES, "more than {MAX_BODY_BYTES} bytes");
        }
        Ok(KeySet {
            keys: published_keys(&body)?,
            fetched_at: now,
            fresh_seconds,
        })
    }
}

impl KeySet {
    fn is_fresh(&self, now: i64) -> bool {
        (0..self.fresh_seconds).contains(&(now - self.fetched_at))
    }

    fn is_usable(&self, now: i64) -> bool {
        now - self.fetched_at < self.fresh_seconds + MAX_STALE_SECONDS
    }

    fn may_hold(&self, kid: &str) -> bool {
        self.fitting(Some(kid)).next().is_some()
    }

    fn fitting<'a>(&'a self, kid: Option<&'a str>) -> impl Iterator<Item = &'a TokenKey> {
        self.keys
            .iter()
            .filter(move |key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &public(&self.0.url))
            .finish_non_exhaustive()
    }
}

/// A URL without its query, which may hold an API key.
fn public(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// How long the issuer says that its keys are good, less the time they have spent in caches on the way.
fn fresh_seconds(headers: &HeaderMap) -> i64 {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let directives: Vec<String> = text(CACHE_CONTROL)
        .split(',')
        .map(|part| part.trim().to_ascii_lowercase())
        .collect();
    if directives
        .iter()
        .any(|directive| directive == "no-store" || directive == "no-cache")
    {
        return MIN_FRESH_SECONDS;
    }
    let max_age = directives
        .iter()
        .find_map(|directive| directive.strip_prefix("max-age="));
    let Some(max_age) = max_age.and_then(|seconds| seconds.parse::<i64>().ok()) else {
        return DEFAULT_FRESH_SECONDS;
    };
    let age = text(AGE).parse::<i64>().unwrap_or(0);
    max_age.saturating_sub(age).clamp(MIN_FRESH_SECONDS, MAX_FRESH_SECONDS)
}

/// The keys of a set (RFC 7517) that can prove a token of ours; others are passed over.
fn published_keys(body: &[u8]) -> anyhow::Result<Vec<TokenKey>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body).context("not a JWK set")?;
    let total = set.keys.len();
    let jwks = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<TokenKey> = jwks.filter_map(published_key).take(MAX_KEYS).collect();
    if keys.is_empty() {
        bail!("none of the set's {total} keys is an RS256 or ES256 signing key");
    }
    Ok(keys)
}

fn published_key(jwk: Jwk) -> Option<TokenKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
        Algorithm::RS256
    } else if let AlgorithmParameters::EllipticCurve(point) = &jwk.algorithm
        && point.curve == EllipticCurve::P256
    {
        Algorithm::ES256
    } else {
        return None;
    };
    if jwk
        .common
        .key_algorithm
        .is_some_and(|stated| stated != KeyAlgorithm::from(algorithm))
    {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(TokenKey {
        kid: jwk.common.key_id,
        algorithm,
        key,
    })
}
