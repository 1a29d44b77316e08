//! What is logged, and how.

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// What is logged: a level (error, warn, info, debug, trace, off), or target=level, comma separated
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,
    /// How log lines are written: text or json
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
