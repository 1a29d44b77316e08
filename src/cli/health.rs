//! `rejoinder health`: whether a running service answers, for containers, probes and scripts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::quiet::Quiet;
use super::service_url::ServiceUrl;

/// How long a service may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running service whether it can answer turns, or a worker whether it applies events
///
/// Asks /readyz (of a worker that has OPERATE_LISTEN, there), and prints what it says. The exit code is 0 when it is ready, and 1 when it is not, or nothing answers
/// within three seconds.
#[derive(Args)]
#[group(skip)]
pub(super) struct Health {
    /// Ask /healthz instead: whether the process lives, whatever its database does
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    service: ServiceUrl,
}

impl Health {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let url = self.service.url_or(&["OPERATE_LISTEN", "LISTEN"]);
            let path = if self.live { "healthz" } else { "readyz" };
            let asked = self
                .service
                .client()?
                .get(format!("{}/{path}", url.trim_end_matches('/')))
                .timeout(PATIENCE)
                .send()
                .await;
            let answer = asked.with_context(|| format!("nothing answers at {url}"))?;
            let status = answer.status();
            let said = answer.text().await?;
            if !status.is_success() {
                bail!("{status}: {}", said.trim());
            }
            self.quiet.print(said.trim())?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
