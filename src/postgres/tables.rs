//! The tables: brought up to date by migrations, or newer than this program and still fit for it.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};
use tracing::info;

/// The tables of the service and of the bot.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Why the tables of a database are not fit for this program.
#[derive(Debug, thiserror::Error)]
pub enum BadTables {
    /// They cannot be asked for.
    #[error("the record of migrations cannot be read: {0}")]
    Unreadable(#[source] sqlx::Error),
    /// A migration failed; those before it are applied.
    #[error("migration {number} ({name}) failed: {reason}")]
    Failed {
        /// Its number.
        number: i64,
        /// Its name.
        name: String,
        /// What the database said.
        reason: String,
    },
    /// A newer program has changed them in a way that this one cannot live with.
    #[error(
        "they are at migration {newest}, for programs that know {oldest_known}; this one knows {known}: run a newer one"
    )]
    TooNew {
        /// The newest migration applied.
        newest: i64,
        /// The migration that a program must know.
        oldest_known: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// An applied migration is not the one that this program knows by its number, or is in another way not right.
    #[error("{0}")]
    Differ(#[source] MigrateError),
}

/// How a database's tables stand to this program's migrations.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Number and name of those that are not applied yet.
    pub(crate) pending: Vec<(i64, String)>,
    /// Numbers of those that are applied and that this program does not know.
    pub(crate) unknown: Vec<i64>,
    oldest_known: i64,
}

impl Standing {
    /// Reads it; changes nothing.
    ///
    /// # Errors
    /// When the database does not answer, or this role may not read the record of migrations.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, BadTables> {
        Self::query(connection).await.map_err(BadTables::Unreadable)
    }

    async fn query(connection: &mut PgConnection) -> sqlx::Result<Self> {
        // An empty database has neither table yet, so these are not checked when the program is built.
        let exists = async |connection: &mut PgConnection, table: &str| {
            sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null")
                .bind(table)
                .fetch_one(connection)
                .await
        };
        let applied: Vec<i64> = if exists(connection, "_sqlx_migrations").await? {
            sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
                .fetch_all(&mut *connection)
                .await?
        } else {
            Vec::new()
        };
        let oldest_known = if exists(connection, "schema_compatibility").await? {
            sqlx::query_scalar("select oldest_known from schema_compatibility")
                .fetch_one(connection)
                .await?
        } else {
            0
        };
        let mut pending: BTreeMap<i64, String> = MIGRATIONS
            .iter()
            .map(|migration| (migration.version, migration.description.to_string()))
            .collect();
        let unknown = applied
            .into_iter()
            .filter(|version| pending.remove(version).is_none())
            .collect();
        Ok(Self {
            pending: pending.into_iter().collect(),
            unknown,
            oldest_known,
        })
    }

    fn expect_fit(&self) -> Result<(), BadTables> {
        let known = MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default();
        match self.unknown.last() {
            Some(newest) if self.oldest_known > known => Err(BadTables::TooNew {
                newest: *newest,
                oldest_known: self.oldest_known,
                known,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Applies the migrations that are missing. Needs no right to create tables where none is. Of several that start at
/// once one applies them, and the others wait.
///
/// # Errors
/// When the tables are for newer programs only, or a migration fails.
pub(crate) async fn bring_up_to_date(connection: &mut PgConnection) -> Result<Standing, BadTables> {
    let standing = Standing::read(connection).await?;
    standing.expect_fit()?;
    if let Some(newest) = standing.unknown.last() {
        info!(
            migration = newest,
            "the tables are newer than this program, and fit for it"
        );
    }
    if standing.pending.is_empty() {
        return Ok(standing);
    }
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    migrator.run(connection).await.map_err(|error| match error {
        MigrateError::ExecuteMigration(error, number) => BadTables::Failed {
            number,
            name: named(number),
            reason: match error.as_database_error() {
                Some(said) => said.message().to_owned(),
                None => error.to_string(),
            },
        },
        other => BadTables::Differ(other),
    })?;
    Ok(standing)
}

fn named(number: i64) -> String {
    let migration = MIGRATIONS.iter().find(|migration| migration.version == number);
    migration
        .map(|migration| migration.description.to_string())
        .unwrap_or_default()
}
