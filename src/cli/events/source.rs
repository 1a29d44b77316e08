//! `rejoinder events source`: the file of a source that the program brings.

use std::process::ExitCode;

use clap::Args;

use super::super::{out, program};
use crate::nearest::did_you_mean;
use crate::source::PROVIDERS;

/// Print the file of a source that comes in the program, such as stripe
///
/// Written to `sources/<NAME>.toml` in the events directory, it is read instead, and may say something else. Without a name,
/// prints the names of all. The exit code is 1 when there is none of that name.
#[derive(Args)]
pub(super) struct Source {
    /// Its name
    name: Option<String>,
}

impl Source {
    pub(super) fn print(self) -> anyhow::Result<ExitCode> {
        let Some(name) = self.name else {
            for (name, _) in PROVIDERS {
                out::print(name)?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let names = PROVIDERS.iter().map(|(name, _)| *name);
        let Some((_, text)) = PROVIDERS.iter().find(|(of, _)| *of == name) else {
            let meant = did_you_mean(&name, names);
            program::complain(format_args!("no source {name} comes in the program{meant}"));
            return Ok(ExitCode::FAILURE);
        };
        out::print(text.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}
