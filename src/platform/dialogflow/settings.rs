//! What no request of Dialogflow tells of its agent.

use std::time::Duration;

use crate::number::whole_number;
use crate::turn::Api;

/// Dialogflow ES waits this long, whatever is set.
const ES_LIMIT: Duration = Duration::from_secs(5);

/// What no request of Dialogflow tells of its agent.
#[derive(Clone, Debug, clap::Args)]
pub struct DialogflowSettings {
    /// How long Dialogflow CX waits for the webhook, in milliseconds, 1000 to 30000, as set in the agent (ES always waits 5000)
    #[arg(long, env = "CX_LIMIT_MS", default_value = "5000", value_parser = whole_number::<u64>(1_000..=30_000))]
    pub cx_limit_ms: u64,
    /// Which API an ES agent speaks: auto, v2 or v2beta1 (set that when the agent's beta features are on)
    #[arg(long, env = "ES_API", default_value = "auto")]
    pub es_api: EsApi,
}

/// Which ES API an agent speaks when its requests do not tell (v2 and v2beta1 mostly look alike).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EsApi {
    /// v2beta1 where the request can only be of v2beta1, else v2.
    #[default]
    Auto,
    /// Always v2.
    V2,
    /// Always v2beta1 (the agent's “beta features” are on).
    V2beta1,
}

impl DialogflowSettings {
    /// How long the platform waits for the answer to a turn.
    pub(crate) fn limit(&self, api: Api) -> Duration {
        match api {
            Api::EsV2 | Api::EsV2beta1 => ES_LIMIT,
            Api::CxV3 => Duration::from_millis(self.cx_limit_ms),
        }
    }

    /// How long it may wait: in ES, and in CX.
    pub(crate) fn limits(&self) -> [Duration; 2] {
        [self.limit(Api::EsV2), self.limit(Api::CxV3)]
    }
}
