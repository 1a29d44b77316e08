//! Time limits and sizes of turns.

use std::time::Duration;

use super::whole_number;
use crate::platform::DialogflowSettings;
use crate::turn::Api;

/// Time limits and sizes of turns.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Turns")]
pub struct TurnSettings {
    /// What no request of Dialogflow tells of its agent.
    #[command(flatten)]
    pub dialogflow: DialogflowSettings,
    /// How long before the platform's limit the answer goes out, in milliseconds, 50 to 4900
    #[arg(long, env = "ANSWER_MARGIN_MS", default_value = "500", value_parser = whole_number::<u64>(50..=4_900))]
    pub answer_margin_ms: u64,
    /// How long a handler may go on after the user has heard the slow text, in milliseconds from its start, 1000 to 300000
    #[arg(long, env = "HANDLER_LIMIT_MS", default_value = "60000", value_parser = whole_number::<u64>(1_000..=300_000))]
    pub handler_limit_ms: u64,
    /// How long a late reply is kept for the session to ask again, in seconds, 1 to 86400
    #[arg(long, env = "LATE_REPLY_TTL_S", default_value = "900", value_parser = whole_number::<u64>(1..=86_400))]
    pub late_reply_ttl_s: u64,
    /// How many turns may be in the works at once; beyond it the user hears that we are busy
    #[arg(long, env = "TURNS_IN_FLIGHT", default_value = "1024", value_parser = whole_number::<usize>(1..=100_000))]
    pub turns_in_flight: usize,
    /// How much memory the handlers' cache may take, in MiB, 1 to 65536
    #[arg(long, env = "CACHE_MIB", default_value = "16", value_parser = whole_number::<u64>(1..=65_536))]
    pub cache_mib: u64,
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ANSWER_MARGIN_MS: found {margin}, expected at least 50 less than CX_LIMIT_MS, {limit}")]
pub struct NoBudget {
    margin: u64,
    limit: u64,
}

impl TurnSettings {
    /// Checks that a turn has any time at all.
    ///
    /// # Errors
    /// [`NoBudget`] when the margin takes all of it.
    pub fn check(&self) -> Result<(), NoBudget> {
        let (margin, limit) = (self.answer_margin_ms, self.dialogflow.cx_limit_ms);
        if margin + 50 > limit {
            Err(NoBudget { margin, limit })
        } else {
            Ok(())
        }
    }

    /// How long a turn may take, from the arrival of its request to the last byte of its answer.
    pub fn budget(&self, api: Api) -> Duration {
        self.less_the_margin(self.dialogflow.limit(api))
    }

    /// When an answer is due, and when it is too late, for each time that a platform waits.
    pub(crate) fn limits(&self) -> Vec<Duration> {
        let limits = self.dialogflow.limits().into_iter();
        limits.flat_map(|limit| [self.less_the_margin(limit), limit]).collect()
    }

    fn less_the_margin(&self, limit: Duration) -> Duration {
        limit.saturating_sub(Duration::from_millis(self.answer_margin_ms))
    }

    /// How long a handler may run.
    pub fn handler_limit(&self) -> Duration {
        Duration::from_millis(self.handler_limit_ms)
    }

    /// How long a late reply is kept.
    pub fn late_ttl(&self) -> Duration {
        Duration::from_secs(self.late_reply_ttl_s)
    }
}
