//! The one place that tells the time, so that a test can hold it still; and waiting until a deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// A source of wall-clock time; clones share one clock.
///
/// Time limits of a running turn (budgets, time-outs) are measured on the monotonic clock of the
/// runtime and are not moved by this one.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `at` until it is [moved](Clock::advance).
    pub fn held(at: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Now, in UTC; microseconds when held, as PostgreSQL keeps them.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the place the lint points to")]
            None => Utc::now(),
            Some(held) => DateTime::from_timestamp_micros(held.load(Ordering::SeqCst)).unwrap_or_default(),
        }
    }

    /// Moves a held clock by `by`, which may be negative; does nothing to the machine's clock.
    pub fn advance(&self, by: TimeDelta) {
        if let (Some(held), Some(micros)) = (&self.0, by.num_microseconds()) {
            held.fetch_add(micros, Ordering::SeqCst);
        }
    }
}

/// What `future` comes to before `deadline`. No timer is set for one that is ready at once, as most are.
///
/// # Errors
/// [`Elapsed`] when it is not ready by then.
pub(crate) async fn before<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match futures_util::poll!(future.as_mut()) {
        Poll::Ready(ready) => Ok(ready),
        Poll::Pending => timeout_at(deadline, future).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_clock_moves_only_when_told() {
        let clock = Clock::held(DateTime::UNIX_EPOCH);
        let copy = clock.clone();
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        copy.advance(TimeDelta::seconds(90));
        assert_eq!(clock.now().timestamp(), 90);
    }
}
