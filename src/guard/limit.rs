//! How often somebody may come: by GCRA, in memory that has a bound.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Clock;
use crate::config::Rate;

/// Of so many it is known how often they have come; of more, those that came last.
const MOST: u64 = 50_000;

/// How often each of many may come.
pub(super) struct Limit<K> {
    rate: Rate,
    clock: Ticks,
    buckets: Cache<K, Arc<Bucket>>,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Somebody has come too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// What was allowed.
    pub(crate) rate: Rate,
    /// When the next one may come.
    pub(crate) wait: Duration,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Limit<K> {
    pub(super) fn new(rate: Rate, clock: Clock) -> Self {
        let buckets = Cache::builder()
            .max_capacity(MOST)
            // By then a bucket is full again.
            .time_to_idle(rate.period())
            .eviction_policy(EvictionPolicy::lru());
        Self {
            rate,
            clock: Ticks(clock),
            buckets: buckets.build(),
        }
    }

    /// Counts one that comes.
    ///
    /// # Errors
    /// When it comes too early.
    pub(super) fn take(&self, key: K) -> Result<(), TooOften> {
        let bucket = self.buckets.get_with(key, || Arc::new(self.bucket()));
        bucket.check().map_err(|not_until| TooOften {
            rate: self.rate,
            wait: not_until.wait_time_from(self.clock.now()),
        })
    }

    /// Whether one like this has come lately.
    pub(super) fn knows(&self, key: &K) -> bool {
        self.buckets.contains_key(key)
    }

    fn bucket(&self) -> Bucket {
        let each = self.rate.period() / self.rate.count().get();
        // A rate is of seconds and of at most as many as fit into 32 bits, so there is some time between two.
        let quota = Quota::with_period(each.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or(Quota::per_second(self.rate.count()));
        RateLimiter::direct_with_clock(quota.allow_burst(self.rate.count()), self.clock.clone())
    }
}

/// The clock as a limit reads it: it does not go back when the time is set.
#[derive(Clone, Debug)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.ticks()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn limit(rate: &str) -> (Limit<u32>, Clock) {
        let clock = Clock::held(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
        (Limit::new(rate.parse().unwrap(), clock.clone()), clock)
    }

    #[test]
    fn so_many_may_come_at_once_and_then_one_at_a_time() {
        let (limit, clock) = limit("60/m");
        assert!((0..60).all(|_| limit.take(1).is_ok()));
        let refused = limit.take(1).unwrap_err();
        assert_eq!(refused.wait, Duration::from_secs(1));
        assert_eq!(limit.take(2), Ok(()), "another one is another one");
        clock.advance(TimeDelta::milliseconds(1_001));
        assert_eq!(limit.take(1), Ok(()));
        assert!(limit.take(1).is_err());
        clock.advance(TimeDelta::minutes(2));
        assert!((0..60).all(|_| limit.take(1).is_ok()));
    }

    #[test]
    fn million_clients_are_not_all_remembered() {
        let (limit, _) = limit("1/h");
        for client in 0..1_000_000 {
            limit.take(client).unwrap();
        }
        limit.buckets.run_pending_tasks();
        assert!(limit.buckets.entry_count() <= MOST, "{}", limit.buckets.entry_count());
        assert!(limit.take(999_999).is_err(), "the last one is known");
    }
}
