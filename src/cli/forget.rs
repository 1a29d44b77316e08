//! `rejoinder forget`: erases what is kept of a user.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use super::actor::Actor;
use super::database::{CONNECTIONS, Reached};
use super::quiet::Quiet;
use super::{out, program, table};
use crate::config::DatabaseSettings;
use crate::forget::{Forgotten, STEPS, forget};

/// Erase what is kept of a user: memory, payloads of events, late replies, dead letters
///
/// Prints how many rows of each kind were erased. It may be run again. What stays is that events came and messages went
/// out, without what was in them, and an entry in the audit trail. Exit codes: 0 erased, 1 nothing is kept of that user,
/// as where the name is mistyped.
#[derive(Args)]
#[group(skip)]
pub(super) struct Forget {
    /// The user; of one who was never identified, the full name of the session
    user: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Forget {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let reached = Reached::find(&self.database, CONNECTIONS).await?;
            let now = reached.now();
            let mut progress = self.quiet.progress(STEPS, "steps");
            let forgotten = forget(&reached.database, &self.user, &self.actor.name, now, &mut progress).await?;
            drop(progress);
            let is_known = forgotten != Forgotten::default();
            let code = if is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            let counts = serde_json::to_value(&forgotten).context("counts cannot be printed")?;
            if self.json {
                out::print_json(&counts)?;
                return Ok(code);
            }
            if !is_known {
                program::complain(format_args!("nothing is kept of {:?}", self.user));
                return Ok(code);
            }
            if self.quiet.is_set() {
                return Ok(code);
            }
            let counts: Map<String, Value> = counts.as_object().cloned().unwrap_or_default();
            let rows: Vec<[String; 2]> = counts
                .into_iter()
                .map(|(kind, count)| [kind.replace('_', " "), count.to_string()])
                .collect();
            table::print(["WHAT", "ERASED"], &rows)?;
            Ok(code)
        })
    }
}
