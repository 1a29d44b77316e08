//! How a bench is run, and how it ends.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::verdict::Verdict;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fewer and shorter rounds, about a minute: for a look, not for a verdict
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory of PostgreSQL's server programs
    #[arg(long, env = "PG_BINDIR")]
    pub(crate) pg_bindir: Option<PathBuf>,
    /// What cargo bench passes, and cargo test does not
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// Prints the table, and writes the figures where that was asked for; the code is 1 when a target is missed.
    pub(crate) fn tell(&self, table: &str, figures: &Value, verdicts: &[Verdict]) -> anyhow::Result<ExitCode> {
        print!("{table}");
        if let Some(file) = &self.json {
            std::fs::write(file, figures.to_string())?;
        }
        let is_met = verdicts.iter().all(|verdict| verdict.met);
        Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
