//! `rejoinder init`: a new bot in a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::quiet::Quiet;

/// Begin a bot of your own
///
/// Writes a project to a new directory: one intent with recorded turns and tests, a table of its own, an event and what
/// comes of it, a container. `cargo run` in it serves, `cargo test` tests it; nothing else is needed. Without --path and
/// --git it depends on the checkout that this program was built in.
#[derive(Args)]
#[group(skip)]
pub(super) struct Init {
    /// The directory to write, which must not be there yet; its name is the bot's
    directory: PathBuf,
    /// Depend on the framework in this checkout
    #[arg(long, value_name = "CHECKOUT", conflicts_with = "git")]
    path: Option<PathBuf>,
    /// Depend on the framework in this repository
    #[arg(long, value_name = "URL")]
    git: Option<String>,
    #[command(flatten)]
    quiet: Quiet,
}

/// What stands in the template for the bot's name, and for the checkout.
const NAME: &str = "mybot";
const DEPENDENCY: &str = r#"{ path = "CHECKOUT" }"#;

macro_rules! template {
    ($($to:literal: $from:literal),* $(,)?) => {
        &[$(($to, include_str!(concat!("../../template/", $from)))),*]
    };
}

/// The files of a new bot.
const FILES: &[(&str, &str)] = template! {
    ".cargo/config.toml": "cargo/config.toml",
    ".dockerignore": "dockerignore",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
    ".sqlx/query-ecb5de2ea4e06d6de20c1d287eecd9f128f323fa14cc2a5cb2887b5e97fbecef.json": "sqlx-opening_hours.json",
    "Cargo.toml": "Cargo.toml.template",
    "Dockerfile": "Dockerfile",
    "README.md": "README.md",
    "build.rs": "build.rs",
    "docker-compose.yml": "docker-compose.yml",
    "events/reactions/note_written.toml": "events/reactions/note_written.toml",
    "events/schemas/note.written/1.json": "events/schemas/note.written/1.json",
    "events/sources/generic.toml": "events/sources/generic.toml",
    "migrations/0001_opening_hours.sql": "migrations/0001_opening_hours.sql",
    "src/main.rs": "src/main.rs",
    "src/opening_hours/01_monday.json": "src/opening_hours/01_monday.json",
    "src/opening_hours/02_which_day.json": "src/opening_hours/02_which_day.json",
    "src/opening_hours/mod.rs": "src/opening_hours/mod.rs",
};

/// The versions that the framework was tested with.
const LOCK: &str = include_str!("../../Cargo.lock");

impl Init {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let name = name_of(&self.directory)?;
        let dependency = match &self.git {
            Some(url) => format!("{{ git = {} }}", quoted(url)),
            None => {
                let checkout = self.path.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
                let checkout = is_checkout(&checkout)?;
                format!("{{ path = {} }}", quoted(&checkout))
            }
        };
        fs::create_dir(&self.directory).with_context(|| {
            format!(
                "{}: expected a directory that is not there yet, in one that is",
                self.directory.display()
            )
        })?;
        let files = FILES
            .iter()
            .map(|(to, text)| (*to, text.replace(DEPENDENCY, &dependency).replace(NAME, name)));
        for (to, text) in files.chain([("Cargo.lock", LOCK.to_owned())]) {
            let file = self.directory.join(to);
            let parent = file.parent().unwrap_or(&self.directory);
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(&file, text));
            written.with_context(|| format!("{} cannot be written", file.display()))?;
        }
        let directory = self.directory.display();
        self.quiet.print(format_args!(
            "{name} is in {directory}. Next:\n\n  cd {directory}\n  cargo run\n  cargo test"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the bot is called: a name that a package, a program and a role of a database can have.
fn name_of(directory: &Path) -> anyhow::Result<&str> {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        && name.len() <= 40;
    ensure!(
        is_name && !["rejoinder", "test", "sqlx", "serde", "tokio"].contains(&name),
        "found the name {name:?}, expected one of [a-z0-9_-] that begins with a letter, is at most 40 long and no \
         package's that the bot depends on"
    );
    Ok(name)
}

/// The absolute path of a checkout of the framework.
fn is_checkout(path: &Path) -> anyhow::Result<String> {
    let expected = || {
        format!(
            "--path: expected a checkout of rejoinder, found none in {}; --git takes the URL of one",
            path.display()
        )
    };
    let absolute = fs::canonicalize(path).with_context(expected)?;
    let manifest = fs::read_to_string(absolute.join("Cargo.toml")).with_context(expected)?;
    ensure!(manifest.contains("name = \"rejoinder\""), expected());
    absolute.into_os_string().into_string().ok().with_context(expected)
}

/// As a string of TOML: what a string of JSON means is the same there.
fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}
