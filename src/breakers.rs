//! A breaker for each host that is called, and what came of the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use recloser::{AsyncRecloser, Error as Broken, Recloser};
use tokio::time::Instant;

use crate::telemetry::SECONDS;

/// So many hosts are known at a time; those that are called least are forgotten first.
const MOST_HOSTS: u64 = 1_000;

/// A breaker for each host; clones share them.
///
/// After half of the last 20 calls to a host have failed, calls to it fail at once for 5 seconds; then 3 are let through to
/// see whether it has recovered.
#[derive(Clone)]
pub(crate) struct Breakers {
    hosts: moka::sync::Cache<Box<str>, Arc<Host>>,
    turns: Histogram,
    outbox: Histogram,
}

/// On whose behalf a host is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A handler's.
    Turn,
    /// A message's or a call's of the outbox.
    Outbox,
}

/// One host: its breaker, and how many calls ended how.
pub(crate) struct Host {
    breaker: AsyncRecloser,
    is_open: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            hosts: moka::sync::Cache::new(MOST_HOSTS),
            turns: Histogram::new(SECONDS),
            outbox: Histogram::new(SECONDS),
        }
    }
}

impl Breakers {
    /// Calls a host, unless its breaker is open.
    ///
    /// # Errors
    /// Those of `exchange`, which count against the host, and [`Broken::Rejected`].
    pub(crate) async fn call<T, E>(
        &self,
        host: &str,
        caller: Caller,
        exchange: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Broken<E>> {
        let host = self.hosts.get_with(host.into(), || Arc::new(Host::new()));
        let began = Instant::now();
        let called = host.breaker.call(exchange).await;
        let is_refused = matches!(called, Err(Broken::Rejected));
        let count = match &called {
            Ok(_) => &host.answered,
            Err(Broken::Inner(_)) => &host.failed,
            Err(Broken::Rejected) => &host.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        host.is_open.store(is_refused, Ordering::Relaxed);
        if !is_refused {
            self.durations(caller).observe(began.elapsed().as_secs_f64());
        }
        called
    }

    /// The hosts that are known.
    pub(crate) fn hosts(&self) -> Vec<(Arc<Box<str>>, Arc<Host>)> {
        self.hosts.iter().collect()
    }

    /// How long calls took that were let through.
    pub(crate) fn durations(&self, caller: Caller) -> &Histogram {
        match caller {
            Caller::Turn => &self.turns,
            Caller::Outbox => &self.outbox,
        }
    }
}

impl Host {
    fn new() -> Self {
        let breaker = Recloser::custom()
            .error_rate(0.5)
            .closed_len(20)
            .half_open_len(3)
            .open_wait(Duration::from_secs(5))
            .build();
        Self {
            breaker: breaker.into(),
            is_open: AtomicBool::default(),
            answered: AtomicU64::default(),
            failed: AtomicU64::default(),
            refused: AtomicU64::default(),
        }
    }

    /// Whether the last call was refused because most before it had failed.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// How many calls ended how.
    pub(crate) fn outcomes(&self) -> [(&'static str, u64); 3] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("answered", load(&self.answered)),
            ("failed", load(&self.failed)),
            ("refused", load(&self.refused)),
        ]
    }
}
