//! `rejoinder agent pack`: the file that Dialogflow imports.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::super::quiet::Quiet;
use crate::agent::{self, Package};

/// Pack an agent's sources into the file that Dialogflow imports
///
/// It is imported in ES by Settings, Export and Import, and in CX by Restore. The same sources make the same file. The exit
/// code is 2 when a file cannot be read or written.
#[derive(Args)]
#[group(skip)]
pub(super) struct Pack {
    /// Directory that an agent's export is unpacked into (Dialogflow ES, or CX as a JSON package)
    dir: PathBuf,
    /// The ZIP file to write; one that is there is written anew
    file: PathBuf,
    #[command(flatten)]
    quiet: Quiet,
}

impl Pack {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Package { bytes, files } = agent::pack(&self.dir)?;
        let file = self.file.display();
        std::fs::write(&self.file, bytes).with_context(|| format!("cannot write {file}"))?;
        self.quiet
            .print(format_args!("{file}: {files} files of {}", self.dir.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
