//! The events door.

use std::path::PathBuf;

use super::whole_number;

/// The events door.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Events")]
pub struct EventSettings {
    /// Directory of the sources, schemas, reactions and channels; without it no events are taken
    #[arg(long, env = "EVENTS_DIR", default_value = "events")]
    pub events_dir: PathBuf,
    /// Whether this process applies events, too: true or false, where others run `work`
    #[arg(long, env = "EVENTS_WORK", default_value = "true", action = clap::ArgAction::Set)]
    pub events_work: bool,
    /// Connections to the database that events are applied on, 2 to 1000; beside them and those of turns there are ten: four for conversations, two that store, three that listen, one that asks for the time
    #[arg(long, env = "EVENTS_POOL_SIZE", default_value = "6", value_parser = whole_number::<u32>(2..=1_000))]
    pub events_pool_size: u32,
    /// How many events may wait to be applied before sources of normal priority are asked to come later (429); those of low priority from a quarter of it on
    #[arg(long, env = "EVENTS_BACKLOG_LIMIT", default_value = "100000", value_parser = whole_number::<u32>(100..=100_000_000))]
    pub events_backlog_limit: u32,
    /// How long events are kept in the log, in days, 8 to 3650; whole weeks are dropped
    #[arg(long, env = "EVENTS_RETENTION_DAYS", default_value = "30", value_parser = whole_number::<u32>(8..=3_650))]
    pub events_retention_days: u32,
}
