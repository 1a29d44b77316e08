//! `rejoinder prepare`: what `query!` needs to build a bot without a database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;

use super::program;
use super::quiet::Quiet;
use crate::config::DatabaseSettings;
use crate::postgres::embedded::Embedded;
use crate::postgres::tables;

/// Check the bot's queries against its tables, and write .sqlx
///
/// Run it after a change to a `query!` or to a migration: it starts a throw-away PostgreSQL, applies the framework's migrations
/// and those of the directory `migrations`, and has `cargo check` ask that database. The program that was built before will do.
#[derive(Args)]
#[group(skip)]
pub(super) struct Prepare {
    /// The bot's directory
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Write nothing, and exit with 1 when .sqlx is out of date
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Prepare {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let directory = fs::canonicalize(&self.directory).context("--directory: expected the bot's directory")?;
        let manifest = directory.join("Cargo.toml");
        ensure!(
            manifest.is_file(),
            "--directory: found no Cargo.toml in {}",
            directory.display()
        );
        let work = directory.join("target").join("prepare");
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("{} cannot be removed", work.display()))?;
        }
        let written = work.join("sqlx");
        fs::create_dir_all(&written).with_context(|| format!("{} cannot be made", written.display()))?;
        let private = Embedded::start(&work, &self.database.programs).context("no private PostgreSQL")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(migrate(&private, &directory.join("migrations")))?;
        // What has not changed is not compiled again, and would write nothing.
        touch(&directory.join("src"))?;
        let checked = Command::new("cargo")
            .args(["check", "--all-targets", "--quiet"])
            .current_dir(&directory)
            .env(
                "DATABASE_URL",
                format!("{}&options=-csearch_path%3Dpublic", private.url()),
            )
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &written)
            .status()
            .context("cargo cannot be run")?;
        drop(private);
        if !checked.success() {
            bail!("cargo check found what is told above; .sqlx is as it was");
        }
        let done = self.take(&written, &directory.join(".sqlx"));
        fs::remove_dir_all(&work).ok();
        done
    }

    /// Puts what was written in the place of what was there.
    fn take(&self, written: &Path, kept: &Path) -> anyhow::Result<ExitCode> {
        let (new, old) = (contents(written)?, contents(kept)?);
        if self.check {
            ensure!(new == old, ".sqlx is out of date: run {} prepare", program::name());
            self.quiet
                .print(format_args!("queries in .sqlx: {}, up to date", new.len()))?;
            return Ok(ExitCode::SUCCESS);
        }
        fs::create_dir_all(kept)?;
        for (name, _) in &old {
            fs::remove_file(kept.join(name))?;
        }
        for (name, text) in &new {
            fs::write(kept.join(name), text)?;
        }
        self.quiet
            .print(format_args!("queries written to .sqlx: {}; commit it", new.len()))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn migrate(private: &Embedded, migrations: &Path) -> anyhow::Result<()> {
    let (mut connection, _) = tables::connect(private.options()).await?;
    tables::bring_up_to_date(&mut connection).await?;
    if migrations.is_dir() {
        let own = Migrator::new(migrations).await.context("migrations")?;
        tables::bring_bots_up_to_date(&mut connection, &own).await?;
    }
    connection.close().await?;
    Ok(())
}

/// The queries of a directory, by name; none where it is not there.
fn contents(dir: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

/// Makes cargo look at the sources again.
fn touch(src: &Path) -> anyhow::Result<()> {
    for file in ["main.rs", "lib.rs"] {
        if let Ok(file) = fs::File::options().append(true).open(src.join(file)) {
            #[expect(clippy::disallowed_methods, reason = "cargo goes by the machine's time")]
            file.set_modified(std::time::SystemTime::now())?;
        }
    }
    Ok(())
}
