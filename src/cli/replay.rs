//! `rejoinder replay`: plays recorded turns against a running service.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::failed;
use super::quiet::Quiet;
use super::service_url::ServiceUrl;
use crate::recorded::{RecordedTurn, Report, play};
use crate::running::Running;

/// Post recorded turns to a running service and compare what comes back.
///
/// A recorded turn is a JSON file with a request and the reply that must come back: either the exact `reply`, or
/// `reply_has` with the parts of it that matter. Turns are posted one after the other. A table shows how each came
/// out, then each difference is shown, and the last line counts the turns that passed and failed.
///
/// The exit code is 0 when all turns match, 1 when some differ, and 2 when a file cannot be read, nothing listens at
/// the URL, or a turn gets no answer.
#[derive(Args)]
#[group(skip)]
pub(super) struct ReplayTurns {
    /// Files, and directories whose *.json files are all played, in the order of their names
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    service: ServiceUrl,
    /// Write what came into the files that differ. A file with `reply_has` keeps the keys it names, and one with no
    /// reply gets an exact one. Answers that say nothing of the turn (401, 403, 404, 429, 5xx) are not accepted
    #[arg(long)]
    accept: bool,
    /// Print one JSON document with all results, and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
    /// A header to send with each turn, for credentials; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

impl ReplayTurns {
    pub(super) fn run(self) -> ExitCode {
        match self.played() {
            Ok(report) if report.errors() > 0 => ExitCode::from(2),
            Ok(report) if report.failed() > 0 => ExitCode::from(1),
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => failed(&error, ExitCode::from(2)),
        }
    }

    fn played(self) -> anyhow::Result<Report> {
        // All before the first is posted: a run is not cut short by a file.
        let turns = RecordedTurn::read_all(&self.paths)?;
        let service = Running::new(self.service.client()?, &self.service.url(), &self.headers)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let mut report = runtime.block_on(play(&service, &turns))?;
        if self.accept {
            report.accept()?;
        }
        if self.quiet.is_set() && !self.json && report.failed() == 0 {
            return Ok(report);
        }
        let mut out = std::io::stdout().lock();
        let text = if self.json {
            format!("{:#}\n", report.json())
        } else {
            report.text(out.is_terminal())
        };
        out.write_all(text.as_bytes()).context("cannot print the results")?;
        Ok(report)
    }
}
