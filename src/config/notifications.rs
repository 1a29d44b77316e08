//! How many notifications a user gets.

use super::whole_number;

/// How many notifications a user gets who has not said otherwise.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Notifications")]
pub struct NotificationSettings {
    /// How many notifications a user gets in any hour who has not said otherwise, 1 to 10000; more are not sent
    #[arg(long, env = "NOTIFICATIONS_PER_HOUR", default_value = "20", value_parser = whole_number::<u32>(1..=10_000))]
    pub notifications_per_hour: u32,
}
