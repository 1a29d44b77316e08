//! The demo bot: what this deployment can do.

mod get_account_balance;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use rejoinder::Bot;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The bot's own settings.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Bot")]
struct Settings {
    /// How long an account's balance is kept in the cache, in seconds, 0 to 3600; 0: not at all
    #[arg(long, env = "BALANCE_CACHE_S", default_value = "5", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    balance_cache_s: u64,
}

fn bot(settings: &Settings) -> Bot {
    Bot::new()
        .data(settings.clone())
        .demo_data("customers", include_str!("demo.sql"))
        .intent("Get Account Balance", get_account_balance::handle)
        .example(r#"{"user_id":"12345","account_type":"checking"}"#)
}

fn main() -> ExitCode {
    rejoinder::run(bot)
}
