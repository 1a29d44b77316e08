//! `rejoinder completions`: what a shell needs to complete commands and options.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::out;

/// Print the script that makes a shell complete commands and options
///
/// For bash, they belong into a file of the directory /etc/bash_completion.d.
#[derive(Args)]
#[group(skip)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn print(&self, mut command: Command) -> anyhow::Result<ExitCode> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        out::print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}
