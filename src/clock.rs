//! The one place that tells the time, so that a test can hold it still; and waiting until a deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant as Moment};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// A source of wall-clock time; clones share one clock.
///
/// A service goes by the database's clock, so that processes whose machines disagree neither delete what others keep
/// nor take for new what others know: its clock is set when it connects and each second from then on, and runs on
/// between by the machine's monotonic clock.
///
/// Time limits of a running turn (budgets, time-outs) are measured on the monotonic clock of the
/// runtime and are not moved by this one.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Its time, in microseconds.
    Held(AtomicI64),
    /// Its time at `zero`, in microseconds.
    Running { zero: Moment, at_zero: AtomicI64 },
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// A clock that runs from the machine's time.
    pub fn system() -> Self {
        Self::off_by(TimeDelta::zero())
    }

    /// A clock that runs as that of a machine whose time is wrong by `by`: for tests.
    pub fn off_by(by: TimeDelta) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the place the lint points to")]
        let now = Utc::now() + by;
        Self(Arc::new(Source::Running {
            zero: Moment::now(),
            at_zero: AtomicI64::new(now.timestamp_micros()),
        }))
    }

    /// A clock that stands at `at` until it is [moved](Clock::advance).
    pub fn held(at: DateTime<Utc>) -> Self {
        Self(Arc::new(Source::Held(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Now, in UTC and microseconds, as PostgreSQL keeps them.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &*self.0 {
            Source::Held(at) => at.load(Ordering::SeqCst),
            Source::Running { zero, at_zero } => at_zero
                .load(Ordering::SeqCst)
                .saturating_add(i64::try_from(zero.elapsed().as_micros()).unwrap_or(i64::MAX)),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// The time since some moment: it goes on evenly, whatever the time is set to.
    pub(crate) fn ticks(&self) -> Duration {
        match &*self.0 {
            Source::Held(at) => Duration::from_micros(at.load(Ordering::SeqCst).max(0).cast_unsigned()),
            Source::Running { zero, .. } => zero.elapsed(),
        }
    }

    /// Moves the clock by `by`, which may be negative.
    pub fn advance(&self, by: TimeDelta) {
        let (Source::Held(time) | Source::Running { at_zero: time, .. }) = &*self.0;
        if let Some(micros) = by.num_microseconds() {
            time.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Sets a running clock by another one, which was asked at `asked` and said `said` at some time before now. Returns by
    /// how much it was wrong; nothing where it may have been right. One that is held stays as it is.
    pub(crate) fn set_by(&self, asked: Moment, said: DateTime<Utc>) -> TimeDelta {
        if let Source::Held(_) = &*self.0 {
            return TimeDelta::zero();
        }
        let (earliest, now) = (said, self.now());
        let latest = said + TimeDelta::from_std(asked.elapsed()).unwrap_or(TimeDelta::zero());
        let correction = now.clamp(earliest, latest) - now;
        self.advance(correction);
        correction
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
        copy.set_by(Moment::now(), DateTime::UNIX_EPOCH);
        assert_eq!(clock.now().timestamp(), 90);
    }

    #[test]
    fn running_clock_is_set_by_another_and_left_alone_where_it_may_be_right() {
        let (right, wrong) = (Clock::system(), Clock::off_by(TimeDelta::days(60)));
        let copy = wrong.clone();
        let asked = Moment::now();
        let correction = wrong.set_by(asked, right.now());
        assert!(
            (correction + TimeDelta::days(60)).abs() < TimeDelta::seconds(5),
            "{correction}"
        );
        assert!((copy.now() - right.now()).abs() < TimeDelta::seconds(5));
        let just_before = right.now() - TimeDelta::milliseconds(1);
        let asked = Moment::now().checked_sub(std::time::Duration::from_secs(2)).unwrap();
        assert_eq!(right.set_by(asked, just_before), TimeDelta::zero());
    }
}
