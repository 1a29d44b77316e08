//! Where the database is.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::{ProgramSettings, whole_number};

/// Where the database is. With no URL the service runs a private PostgreSQL of its own.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// The database, as postgres://user:password@host:port/name: PostgreSQL itself, no pooler; unset: a private PostgreSQL in DATA_DIR
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// A replica to read from, as postgres://user:password@host:port/name; unset: reads go to the database itself
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true)]
    pub database_read_url: Option<SecretString>,
    /// Connections to the database for turns (and as many to the replica), 1 to 1000
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value = "10", value_parser = whole_number::<u32>(1..=1_000))]
    pub database_pool_size: u32,
    /// Whether to load the demo data when the tables are empty: true or false; unset: only into the private PostgreSQL
    #[arg(long, env = "DEMO_DATA")]
    pub demo_data: Option<bool>,
    /// Directory of the private PostgreSQL, made when it is missing
    #[arg(long, env = "DATA_DIR", default_value = ".data")]
    pub data_dir: PathBuf,
    /// Where the private PostgreSQL's programs come from.
    #[command(flatten)]
    pub programs: ProgramSettings,
}

/// A setting that is no database's address. It may hold a password, so it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: found something else, expected postgres://user:password@host:port/name")]
pub struct BadDatabaseUrl {
    setting: &'static str,
}

impl DatabaseSettings {
    /// How to connect to the database; `None` for the private PostgreSQL.
    ///
    /// # Errors
    /// [`BadDatabaseUrl`] when `DATABASE_URL` is no such URL.
    pub fn primary(&self) -> Result<Option<PgConnectOptions>, BadDatabaseUrl> {
        read("DATABASE_URL", self.database_url.as_ref())
    }

    /// How to connect to the replica, if there is one.
    ///
    /// # Errors
    /// [`BadDatabaseUrl`] when `DATABASE_READ_URL` is no such URL.
    pub fn replica(&self) -> Result<Option<PgConnectOptions>, BadDatabaseUrl> {
        read("DATABASE_READ_URL", self.database_read_url.as_ref())
    }
}

fn read(setting: &'static str, url: Option<&SecretString>) -> Result<Option<PgConnectOptions>, BadDatabaseUrl> {
    let Some(url) = url.map(ExposeSecret::expose_secret) else {
        return Ok(None);
    };
    let scheme = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    let options = scheme.then(|| url.parse().ok()).flatten();
    options.map(Some).ok_or(BadDatabaseUrl { setting })
}
