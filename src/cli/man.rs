//! `rejoinder man`: the manual's pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man as Page;

use super::out;
use super::quiet::Quiet;

/// Print the manual's page, or write those of all commands
///
/// What it prints, `man -l -` shows. Pages belong into a directory man1 of the manual's path, such as
/// /usr/local/share/man/man1.
#[derive(Args)]
#[group(skip)]
pub(super) struct Man {
    /// Write the pages of all commands to this directory, which is made where it is missing
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    quiet: Quiet,
}

impl Man {
    pub(super) fn run(&self, command: Command) -> anyhow::Result<ExitCode> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let manual = Manual {
            source: format!("{} {}", command.get_name(), command.get_version().unwrap_or_default()),
        };
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            manual.page(command).render(&mut page)?;
            out::print(String::from_utf8_lossy(&page).trim_end())?;
            return Ok(ExitCode::SUCCESS);
        };
        let shown = dir.display();
        fs::create_dir_all(dir).with_context(|| format!("--dir: cannot make the directory {shown}"))?;
        let pages = manual
            .write(command, dir)
            .with_context(|| format!("--dir: cannot write to {shown}"))?;
        self.quiet.print(format_args!("{shown}: {pages} pages"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The pages of one program.
struct Manual {
    /// What stands at the foot of each: the program and its version.
    source: String,
}

impl Manual {
    fn page(&self, command: Command) -> Page {
        Page::new(command).source(&self.source)
    }

    /// Writes a page for a command and for each below it; returns how many.
    fn write(&self, command: Command, dir: &Path) -> io::Result<usize> {
        let mut pages = 1;
        for below in command.get_subcommands().cloned() {
            pages += self.write(below, dir)?;
        }
        self.page(command).generate_to(dir)?;
        Ok(pages)
    }
}
