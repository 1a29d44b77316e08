//! What handlers remember for a while: bounded by weight, each entry with its own time to live.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::Expiry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::fail::Fail;

/// A cache that all handlers share and whose keys carry the handler's name.
///
/// Values are kept as JSON, so that their weight is known; when the cache is full the least used go first.
///
/// ```
/// use std::time::Duration;
///
/// use rejoinder::{Cache, Fail, Reply};
///
/// async fn weather(cache: Cache) -> Result<Reply, Fail> {
///     let fetch = async { Ok(18) };
///     let degrees: i32 = cache.get_or_fetch("degrees", Duration::from_secs(600), fetch).await?;
///     Ok(Reply::text(format!("It is {degrees} degrees.")))
/// }
/// # rejoinder::Bot::new().intent("Weather", weather).check().unwrap();
/// ```
#[derive(Clone)]
pub struct Cache {
    entries: moka::future::Cache<Arc<str>, Entry>,
    clock: Clock,
    handler: &'static str,
    lookups: Arc<Lookups>,
}

/// How often it was asked.
#[derive(Default)]
struct Lookups {
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone)]
struct Entry {
    json: Arc<[u8]>,
    fresh_until: DateTime<Utc>,
    ttl: Duration,
}

/// Frees an entry when its own time is over. Whether it may still be given is decided by the [`Clock`].
struct OwnTime;

impl Expiry<Arc<str>, Entry> for OwnTime {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry, _: std::time::Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Entry,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl Cache {
    /// A cache of at most `bytes`, keys and values together.
    pub(crate) fn new(bytes: u64, clock: Clock) -> Self {
        let weigh =
            |key: &Arc<str>, entry: &Entry| u32::try_from(key.len() + entry.json.len() + 64).unwrap_or(u32::MAX);
        let entries = moka::future::Cache::builder()
            .max_capacity(bytes)
            .weigher(weigh)
            .expire_after(OwnTime)
            .build();
        Self {
            entries,
            clock,
            handler: "",
            lookups: Arc::default(),
        }
    }

    pub(crate) fn named(&self, handler: &'static str) -> Self {
        Self {
            handler,
            ..self.clone()
        }
    }

    /// The value under `key`, if it is still fresh.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.fresh(&self.full(key)).await
    }

    /// Keeps `value` under `key` for `ttl`.
    ///
    /// # Errors
    /// [`Fail::Bug`] when the value cannot be written as JSON.
    pub async fn put<T: Serialize>(&self, key: &str, ttl: Duration, value: &T) -> Result<(), Fail> {
        let entry = self.entry(ttl, value)?;
        self.entries.insert(self.full(key), entry).await;
        Ok(())
    }

    /// The value under `key`, or else what `fetch` returns, kept for `ttl`. Those who ask while it is being fetched
    /// wait for that one fetch.
    ///
    /// # Errors
    /// The fetch's own failure, which is not kept.
    pub async fn get_or_fetch<T, F>(&self, key: &str, ttl: Duration, fetch: F) -> Result<T, Fail>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Fail>>,
    {
        let key = self.full(key);
        if let Some(value) = self.fresh(&key).await {
            return Ok(value);
        }
        // What stands there is no longer fresh by our clock.
        self.entries.invalidate(&key).await;
        let fetched = self
            .entries
            .try_get_with(key, async { self.entry(ttl, &fetch.await?) })
            .await;
        let entry = fetched.map_err(|fail| fail.copy())?;
        serde_json::from_slice(&entry.json).map_err(Fail::bug)
    }

    /// How often it had what it was asked for, and how often not.
    pub(crate) fn lookups(&self) -> [(&'static str, u64); 2] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("hit", load(&self.lookups.hits)), ("miss", load(&self.lookups.misses))]
    }

    /// How many entries it has, and their bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    async fn fresh<T: DeserializeOwned>(&self, key: &Arc<str>) -> Option<T> {
        let entry = self.entries.get(key).await;
        let entry = entry.filter(|entry| entry.fresh_until > self.clock.now());
        let value = entry.and_then(|entry| serde_json::from_slice(&entry.json).ok());
        let count = match value {
            Some(_) => &self.lookups.hits,
            None => &self.lookups.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        value
    }

    fn full(&self, key: &str) -> Arc<str> {
        format!("{}\0{key}", self.handler).into()
    }

    fn entry<T: Serialize>(&self, ttl: Duration, value: &T) -> Result<Entry, Fail> {
        let json = serde_json::to_vec(value).map_err(Fail::bug)?;
        let lives = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX);
        let fresh_until = self
            .clock
            .now()
            .checked_add_signed(lives)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(Entry {
            json: json.into(),
            fresh_until,
            ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    const TTL: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn entry_is_fetched_once_until_its_time_is_over() {
        let clock = Clock::held(DateTime::UNIX_EPOCH);
        let cache = Cache::new(10_000, clock.clone()).named("rates");
        let fetches = AtomicU32::new(0);
        let fetch = || async {
            cache
                .get_or_fetch("EUR", TTL, async { Ok(fetches.fetch_add(1, Ordering::SeqCst)) })
                .await
                .unwrap()
        };
        let (one, two) = futures_util::future::join(fetch(), fetch()).await;
        assert_eq!((one, two), (0, 0));
        clock.advance(TimeDelta::seconds(599));
        assert_eq!(fetch().await, 0);
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(fetch().await, 1);
    }

    #[tokio::test]
    async fn failure_is_not_kept_and_handlers_do_not_share_keys() {
        let cache = Cache::new(10_000, Clock::system());
        let failed = cache
            .named("a")
            .get_or_fetch::<u8, _>("k", TTL, async { Err(Fail::say("no")) })
            .await;
        assert!(matches!(failed, Err(Fail::Say(text)) if text == "no"));
        cache.named("a").put("k", TTL, &1_u8).await.unwrap();
        assert_eq!(cache.named("a").get::<u8>("k").await, Some(1));
        assert_eq!(cache.named("b").get::<u8>("k").await, None);
    }
}
