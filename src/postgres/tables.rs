//! The tables: the framework's, in a schema of their own, and the bot's; brought up to date by migrations, or newer than
//! this program and still fit for it.

use std::collections::BTreeMap;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tracing::info;

/// The framework's migrations.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Where sqlx records by default what it has applied: the bot's migrations, in the schema that its tables are in.
const OF_THE_BOT: &str = "_sqlx_migrations";

/// The same of the framework's.
const OF_THE_FRAMEWORK: &str = "rejoinder._sqlx_migrations";

/// Why the tables of a database are not fit for this program.
#[derive(Debug, thiserror::Error)]
pub enum BadTables {
    /// They cannot be asked for.
    #[error("the record of migrations cannot be read: {0}")]
    Unreadable(#[source] sqlx::Error),
    /// They are of a version that had them among the bot's, and cannot be moved to their schema.
    #[error("they cannot be moved to the schema rejoinder: {0}")]
    NotMoved(#[source] sqlx::Error),
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
}

impl Standing {
    /// Reads it of the framework's tables; changes nothing.
    ///
    /// # Errors
    /// When the database does not answer, this role may not read the record of migrations, or the tables are for newer
    /// programs only.
    pub(crate) async fn of_the_framework(connection: &mut PgConnection) -> Result<Self, BadTables> {
        let standing = async {
            let standing = if are_among_the_bots(connection).await? {
                Self::read(connection, &MIGRATIONS, OF_THE_BOT, is_the_frameworks).await?
            } else {
                Self::read(connection, &MIGRATIONS, OF_THE_FRAMEWORK, |_| true).await?
            };
            let oldest_known = if exists(connection, "rejoinder.schema_compatibility").await? {
                sqlx::query_scalar("select oldest_known from rejoinder.schema_compatibility")
                    .fetch_one(connection)
                    .await?
            } else {
                0
            };
            Ok((standing, oldest_known))
        };
        let (standing, oldest_known) = standing.await.map_err(BadTables::Unreadable)?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max();
        match (standing.unknown.last(), known.unwrap_or_default()) {
            (Some(&newest), known) if oldest_known > known => Err(BadTables::TooNew {
                newest,
                oldest_known,
                known,
            }),
            (Some(_) | None, _) => Ok(standing),
        }
    }

    /// Reads it of the bot's tables; changes nothing.
    ///
    /// # Errors
    /// When the database does not answer, or this role may not read the record of migrations.
    pub(crate) async fn of_the_bot(connection: &mut PgConnection, migrations: &Migrator) -> Result<Self, BadTables> {
        let is_the_bots = |checksum: &[u8]| !is_the_frameworks(checksum);
        let standing = Self::read(connection, migrations, OF_THE_BOT, is_the_bots).await;
        standing.map_err(BadTables::Unreadable)
    }

    /// Of a record in which others may be, too; those that count are told by their checksums.
    async fn read(
        connection: &mut PgConnection,
        migrations: &Migrator,
        record: &str,
        counts: impl Fn(&[u8]) -> bool,
    ) -> sqlx::Result<Self> {
        let applied: Vec<(i64, Vec<u8>)> = if exists(connection, record).await? {
            let applied = format!("select version, checksum from {record} where success order by version");
            sqlx::query_as(AssertSqlSafe(applied))
                .fetch_all(&mut *connection)
                .await?
        } else {
            Vec::new()
        };
        let mut pending: BTreeMap<i64, String> = migrations
            .iter()
            .filter(|migration| !migration.migration_type.is_down_migration())
            .map(|migration| (migration.version, migration.description.to_string()))
            .collect();
        let unknown = applied
            .into_iter()
            .filter(|(version, checksum)| counts(checksum) && pending.remove(version).is_none())
            .map(|(version, _)| version)
            .collect();
        Ok(Self {
            pending: pending.into_iter().collect(),
            unknown,
        })
    }
}

/// Applies those of the framework's migrations that are missing. Needs no right to create tables where none is. Of several
/// that start at once one applies them, and the others wait.
///
/// # Errors
/// When the tables are for newer programs only, or a migration fails.
pub(crate) async fn bring_up_to_date(connection: &mut PgConnection) -> Result<Standing, BadTables> {
    let standing = Standing::of_the_framework(connection).await?;
    if let Some(newest) = standing.unknown.last() {
        info!(
            migration = newest,
            "the tables are newer than this program, and fit for it"
        );
    }
    if standing.pending.is_empty() {
        return Ok(standing);
    }
    take_in(connection).await.map_err(BadTables::NotMoved)?;
    // What they make belongs there.
    set_path(connection, "set search_path to rejoinder").await?;
    let migrated = run(connection, &MIGRATIONS, OF_THE_FRAMEWORK).await;
    set_path(connection, "reset search_path").await?;
    migrated.map(|()| standing)
}

/// Applies those of the bot's migrations that are missing. Those that are applied and that it does not have are of a newer
/// program, which may be taken back.
///
/// # Errors
/// When a migration fails, or is not the one that was applied under its number.
pub(crate) async fn bring_bots_up_to_date(
    connection: &mut PgConnection,
    migrations: &Migrator,
) -> Result<Standing, BadTables> {
    let standing = Standing::of_the_bot(connection, migrations).await?;
    if let Some(newest) = standing.unknown.last() {
        info!(migration = newest, "the bot's tables are newer than this program");
    }
    if !standing.pending.is_empty() {
        run(connection, migrations, OF_THE_BOT).await?;
    }
    Ok(standing)
}

async fn run(connection: &mut PgConnection, migrations: &Migrator, record: &'static str) -> Result<(), BadTables> {
    let mut migrator = Migrator::with_migrations(migrations.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name(record);
    migrator.run(connection).await.map_err(|error| {
        let MigrateError::ExecuteMigration(error, number) = error else {
            return BadTables::Differ(error);
        };
        let migration = migrations.iter().find(|migration| migration.version == number);
        BadTables::Failed {
            number,
            name: migration
                .map(|migration| migration.description.to_string())
                .unwrap_or_default(),
            reason: match error.as_database_error() {
                Some(said) => said.message().to_owned(),
                None => error.to_string(),
            },
        }
    })
}

/// Sees to it that there is the schema, and that all tables which an earlier version has made among the bot's are in it.
async fn take_in(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('rejoinder schema'))")
        .execute(&mut *transaction)
        .await?;
    // Not `if not exists`, which asks for the right to create one also where it is there.
    let is_there: bool = sqlx::query_scalar("select to_regnamespace('rejoinder') is not null")
        .fetch_one(&mut *transaction)
        .await?;
    if !is_there {
        sqlx::query("create schema rejoinder")
            .execute(&mut *transaction)
            .await?;
    }
    if are_among_the_bots(&mut transaction).await? {
        sqlx::raw_sql(include_str!("take_in.sql"))
            .execute(&mut *transaction)
            .await?;
        for statement in [
            "insert into rejoinder._sqlx_migrations select * from _sqlx_migrations where checksum = any($1)",
            "delete from _sqlx_migrations where checksum = any($1)",
        ] {
            sqlx::query(statement)
                .bind(of_the_framework())
                .execute(&mut *transaction)
                .await?;
        }
        info!("the tables are moved to the schema rejoinder");
    }
    transaction.commit().await
}

/// The checksums of the framework's migrations, by which they are known among others.
fn of_the_framework() -> Vec<&'static [u8]> {
    MIGRATIONS.iter().map(|migration| &*migration.checksum).collect()
}

/// Whether the migration of this checksum is one of the framework's.
fn is_the_frameworks(checksum: &[u8]) -> bool {
    of_the_framework().contains(&checksum)
}

/// Whether they were made by a version that had them where the bot's are.
async fn are_among_the_bots(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let first = MIGRATIONS.iter().next().map(|migration| &*migration.checksum);
    if exists(connection, OF_THE_FRAMEWORK).await? || !exists(connection, OF_THE_BOT).await? {
        return Ok(false);
    }
    sqlx::query_scalar("select exists (select from _sqlx_migrations where checksum = $1)")
        .bind(first)
        .fetch_one(connection)
        .await
}

/// Whether a table is there. What asks for it is not checked when the program is built: an empty database has none.
async fn exists(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(table)
        .fetch_one(connection)
        .await
}

/// Connects to where the tables are seen to; returns also the `search_path` of all connections that are to
/// find the bot's, where it is not the one that they have.
///
/// PostgreSQL's default path begins with the schema that is named as the role. For the role `rejoinder` that would be the
/// framework's, where no table of the bot belongs.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn connect(options: PgConnectOptions) -> sqlx::Result<(PgConnection, Option<String>)> {
    // It need not say each time that the record of migrations is there.
    let quiet = options.options([("client_min_messages", "warning")]);
    let mut connection = PgConnection::connect_with(&quiet).await?;
    let path: Option<String> = sqlx::query_scalar(
        r#"select replace(current_setting('search_path'), '"$user", ', '')
           where current_user = 'rejoinder' and starts_with(current_setting('search_path'), '"$user", ')"#,
    )
    .fetch_optional(&mut connection)
    .await?;
    if let Some(path) = &path {
        connection.close().await?;
        connection = PgConnection::connect_with(&quiet.options([("search_path", path)])).await?;
    }
    Ok((connection, path))
}

async fn set_path(connection: &mut PgConnection, statement: &'static str) -> Result<(), BadTables> {
    let set = sqlx::query(statement).execute(connection).await;
    set.map(drop).map_err(BadTables::Unreadable)
}
