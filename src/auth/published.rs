//! What an issuer publishes: fetched when needed, kept while it is good, and through the issuer's outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, Response};
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use crate::clock::Clock;

/// One fetch, from connecting to the last byte; it has to leave time for the turn.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(2);
/// A longer document is refused, in bytes; Google's key set has three thousand.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Bounds of the time that a document counts as fresh, and what it is when the issuer does not say, in seconds.
const MIN_FRESH_SECONDS: i64 = 60;
const MAX_FRESH_SECONDS: i64 = 24 * 60 * 60;
const DEFAULT_FRESH_SECONDS: i64 = 60 * 60;
/// How long a document is still used when it is no longer fresh and cannot be fetched, in seconds.
const MAX_STALE_SECONDS: i64 = 24 * 60 * 60;

/// Least time between two fetches, in seconds, whoever asks.
const FETCH_GAP_SECONDS: i64 = 10;
/// The same while there is nothing at all.
const FIRST_FETCH_GAP_SECONDS: i64 = 2;

/// Fetches, and says for how many seconds what it has fetched is fresh.
type Fetch<T> = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<(T, i64)>> + Send + Sync>;

/// What is read of a document that is fetched anew from time to time; clones share it.
pub(super) struct Published<T>(Arc<Source<T>>);

struct Source<T> {
    /// For the log.
    name: String,
    fetch: Fetch<T>,
    clock: Clock,
    kept: ArcSwapOption<Kept<T>>,
    /// Held by the fetch in flight, of which there is one at most.
    flight: Arc<Mutex<()>>,
    /// When the last fetch began, in seconds since 1970, whether or not it succeeded.
    attempted_at: AtomicI64,
}

/// What one fetch has brought.
pub(super) struct Kept<T> {
    pub(super) value: T,
    fetched_at: i64,
    fresh_seconds: i64,
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> Published<T> {
    /// Fetches nothing yet; `name` is what the log calls it.
    pub(super) fn new(name: String, clock: Clock, fetch: Fetch<T>) -> Self {
        Self(Arc::new(Source {
            name,
            fetch,
            clock,
            kept: ArcSwapOption::empty(),
            flight: Arc::new(Mutex::new(())),
            attempted_at: AtomicI64::new(i64::MIN),
        }))
    }

    /// Starts a fetch in the background, if none is under way and one is allowed; needs a tokio runtime.
    pub(super) fn fetch_in_background(&self) {
        if let Ok(flight) = Arc::clone(&self.0.flight).try_lock_owned() {
            self.start_fetch(flight);
        }
    }

    /// What is kept, unless it is too old; what is no longer fresh is renewed in the background.
    ///
    /// Waits for a fetch, two seconds at most, when there is nothing usable.
    pub(super) async fn usable(&self) -> Option<Arc<Kept<T>>> {
        let now = self.now();
        match self.kept() {
            Some(kept) if kept.is_fresh(now) => Some(kept),
            Some(kept) if kept.is_usable(now) => {
                self.fetch_in_background();
                Some(kept)
            }
            Some(_) | None => {
                self.fetch().await;
                self.kept().filter(|kept| kept.is_usable(now))
            }
        }
    }

    /// What is kept, however old.
    pub(super) fn kept(&self) -> Option<Arc<Kept<T>>> {
        self.0.kept.load_full()
    }

    /// Fetches, or waits for the fetch in flight; does nothing when the last one was just now.
    pub(super) async fn fetch(&self) {
        let flight = Arc::clone(&self.0.flight).lock_owned().await;
        if let Some(fetch) = self.start_fetch(flight)
            && let Err(error) = fetch.await
        {
            tracing::error!(%error, "the fetch of what is published broke off");
        }
    }

    // A task of its own, so that a caller who hangs up does not break off the fetch that others wait for.
    fn start_fetch(&self, flight: OwnedMutexGuard<()>) -> Option<tokio::task::JoinHandle<()>> {
        let now = self.now();
        let gap = if self.0.kept.load().is_some() {
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
            match tokio::time::timeout(FETCH_LIMIT, (source.fetch)()).await {
                Ok(Ok((value, fresh_seconds))) => source.kept.store(Some(Arc::new(Kept {
                    value,
                    fetched_at: now,
                    fresh_seconds,
                }))),
                Ok(Err(error)) => source.complain(&format!("{error:#}")),
                Err(_) => source.complain(&format!("no answer within {} s", FETCH_LIMIT.as_secs())),
            }
        }))
    }

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp()
    }
}

impl<T> Source<T> {
    fn complain(&self, wrong: &str) {
        let has_keys = self.kept.load().is_some();
        tracing::warn!(url = self.name, has_keys, "cannot fetch published keys: {wrong}");
    }
}

impl<T> Kept<T> {
    fn is_fresh(&self, now: i64) -> bool {
        (0..self.fresh_seconds).contains(&(now - self.fetched_at))
    }

    fn is_usable(&self, now: i64) -> bool {
        now - self.fetched_at < self.fresh_seconds + MAX_STALE_SECONDS
    }
}

/// Fetches a document, and for how many seconds it is fresh.
///
/// # Errors
/// When it cannot be had, or is longer than 256 KiB; never with the URL, which may hold a key.
pub(super) async fn get(http: &Client, url: &Url) -> anyhow::Result<(Vec<u8>, i64)> {
    let response = http
        .get(url.clone())
        .send()
        .await
        .map_err(reqwest::Error::without_url)?;
    ensure!(response.status().is_success(), "status {}", response.status());
    let fresh_seconds = fresh_seconds(response.headers());
    Ok((body(response).await?, fresh_seconds))
}

/// The body of an issuer's answer.
///
/// # Errors
/// When it breaks off, or is longer than 256 KiB.
pub(crate) async fn body(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&chunk);
        ensure!(body.len() <= MAX_BODY_BYTES, "more than {MAX_BODY_BYTES} bytes");
    }
    Ok(body)
}

/// A URL without its query, which may hold an API key.
pub(super) fn public(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// How long the issuer says that a document is good, less the time it has spent in caches on the way.
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
