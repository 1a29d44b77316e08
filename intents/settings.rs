//! The bot's own settings.

use clap::ArgAction;
use rejoinder::config::whole_number;
use url::Url;

/// What a deployment of this bot may set.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Bot")]
pub(crate) struct Settings {
    /// How long an account's balance is kept in the cache, in seconds, 0 to 3600; 0: not at all
    #[arg(long, env = "BALANCE_CACHE_S", default_value = "5", value_parser = whole_number::<u64>(0..=3_600))]
    pub(crate) balance_cache_s: u64,
    /// Where exchange rates come from, as http(s)://host/path of a service with the API of frankfurter.dev
    #[arg(long, env = "RATES_API_URL", default_value = "https://api.frankfurter.dev/v1", value_parser = web_url)]
    pub(crate) rates_api_url: Url,
    /// Whether balance and transactions are told only to those who have verified their identity: true or false
    #[arg(long, env = "REQUIRE_VERIFIED", default_value = "false", action = ArgAction::Set)]
    pub(crate) require_verified: bool,
}

fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| "expected an http or https URL".to_owned())
}
