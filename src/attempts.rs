//! How often what has failed is tried again, and when; the one place that rolls dice.

use std::time::Duration;

use uuid::Uuid;

/// The longest wait after the first failure; it doubles with each one.
const BASE: Duration = Duration::from_secs(1);

/// No wait is longer.
const CAP: Duration = Duration::from_secs(300);

/// After how many failures something is given up. Until then there is exponential back-off with full jitter: any wait from
/// none to 1, 2, 4 … 300 seconds, so that those who failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts(i32);

impl Attempts {
    /// An event, and the time-out of a join.
    pub(crate) const OF_AN_EVENT: Self = Self(5);

    /// A request to somebody else: that is about a quarter of an hour at most.
    pub(crate) const OF_A_REQUEST: Self = Self(8);

    /// Whether so many failures are enough to give up.
    pub(crate) fn are_over(self, failures: i32) -> bool {
        failures >= self.0
    }

    /// How long to wait after so many failures; also beyond those after which it could be given up.
    pub(crate) fn wait_after(failures: i32) -> Duration {
        // Version 4: the last 53 bits are all random.
        let dice = Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1);
        bound(failures).mul_f64(dice as f64 / (1_u64 << 53) as f64)
    }
}

fn bound(failures: i32) -> Duration {
    let doublings = failures.saturating_sub(1).clamp(0, 30);
    BASE.saturating_mul(1 << doublings).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_cap_and_waits_differ_below_it() {
        let bounds: Vec<u64> = (1..=11).map(|failures| bound(failures).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let waits: Vec<Duration> = (0..100).map(|_| Attempts::wait_after(20)).collect();
        assert!(waits.iter().all(|wait| *wait <= CAP));
        assert!(waits.iter().any(|wait| *wait < CAP / 3));
        assert!(waits.iter().any(|wait| *wait > CAP / 2));
    }
}
