//! How long to wait before something is tried again; the one place that rolls dice.

use std::time::Duration;

use uuid::Uuid;

/// Exponential back-off with full jitter: any wait from none to a bound that doubles with each failure, so that those
/// who failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The bound after the first failure.
    pub(crate) base: Duration,
    /// The bound does not grow beyond this.
    pub(crate) cap: Duration,
}

impl Backoff {
    /// The longest wait after so many failures.
    pub(crate) fn bound(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// How long to wait after so many failures.
    pub(crate) fn wait(self, failures: u32) -> Duration {
        // Version 4: the last 53 bits are all random.
        let dice = Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1);
        self.bound(failures).mul_f64(dice as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_cap_and_waits_differ_below_it() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(300),
        };
        let bounds: Vec<u64> = (1..=11).map(|failures| backoff.bound(failures).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let waits: Vec<Duration> = (0..100).map(|_| backoff.wait(20)).collect();
        assert!(waits.iter().all(|wait| *wait <= backoff.cap));
        assert!(waits.iter().any(|wait| *wait < backoff.cap / 3));
        assert!(waits.iter().any(|wait| *wait > backoff.cap / 2));
    }
}
