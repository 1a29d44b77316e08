//! Programs of one version on tables of another, and `rejoinder migrate`.

use rejoinder::Bot;
use rejoinder::testing::TestBot;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::events::command::{Ran, run};
use crate::events::shop::{self, count};

async fn set(bot: &TestBot, statement: &'static str) {
    sqlx::query(statement).execute(bot.pool()).await.unwrap();
}

const NEWER: &str = "insert into rejoinder._sqlx_migrations (version, description, success, checksum, execution_time)
     values (9999, 'of a newer program', true, '', 0)";

#[tokio::test]
async fn older_program_runs_on_tables_that_are_newer_and_fit() {
    let bot = shop::open().await;
    set(&bot, NEWER).await;
    let Ran { code, out, err } = run(&bot, &["events", "dead"]).await;
    assert_eq!((code, out.as_str()), (0, "no dead letters\n"), "{err}");
    let Ran { code, out, .. } = run(&bot, &["migrate"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("[9999]") && out.contains("up to date"), "{out}");
}

#[tokio::test]
async fn older_program_refuses_tables_that_only_newer_ones_can_live_with() {
    let bot = TestBot::start(Bot::new()).await;
    set(&bot, NEWER).await;
    set(&bot, "update rejoinder.schema_compatibility set oldest_known = 9999").await;
    for command in [&["events", "dead"][..], &["migrate"]] {
        let Ran { code, err, .. } = run(&bot, command).await;
        assert_ne!(code, 0);
        assert!(
            err.contains("they are at migration 9999") && err.contains("run a newer one"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn missing_migration_is_told_by_check_and_applied_by_migrate() {
    let bot = shop::open().await;
    set(&bot, "delete from rejoinder._sqlx_migrations where version = 12").await;
    let Ran { code, out, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!((code, out.as_str()), (1, "missing  0012 schema\n"));
    let Ran { code, out, .. } = run(&bot, &["migrate"]).await;
    assert_eq!((code, out.as_str()), (0, "applied  0012 schema\n"));
    let Ran { code, out, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!((code, out.as_str()), (0, "the tables are up to date\n"));
}

#[tokio::test]
async fn missing_migration_of_the_bot_is_told_and_applied_after_the_frameworks() {
    // It has no tables of its own, as the program has that is run.
    let bot = TestBot::start(Bot::new()).await;
    let Ran { code, out, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!((code, out.as_str()), (1, "missing  0002 shop and bank of the bot\n"));
    let Ran { code, out, .. } = run(&bot, &["migrate"]).await;
    assert_eq!((code, out.as_str()), (0, "applied  0002 shop and bank of the bot\n"));
    let Ran { code, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!(code, 0);
}

/// Migrations as one's own, of which the first is numbered as the framework's first.
fn rooms() -> Migrator {
    let sql = "create table orders (id bigint primary key); create table facts (fact text); create table event_log ()";
    Migrator::with_migrations(vec![Migration::new(
        1,
        "rooms".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )])
}

#[tokio::test]
async fn bots_own_tables_and_migrations_may_have_any_name_and_number() {
    let bot = TestBot::start(Bot::new().migrations(rooms())).await;
    assert_eq!(count(&bot, "_sqlx_migrations where description = 'rooms'").await, 1);
    // The framework's go on beside them.
    assert_eq!(count(&bot, "rejoinder.facts").await, 0);
    let again = TestBot::start_with(Bot::new().migrations(rooms()), |settings| {
        settings.database = Some(bot.database());
    })
    .await;
    assert_eq!(count(&again, "orders").await, 0);
}

#[tokio::test]
async fn bots_migrations_that_a_newer_program_has_applied_are_left_alone() {
    let bot = TestBot::start(Bot::new().migrations(rooms())).await;
    let older = Bot::new().migrations(Migrator::with_migrations(Vec::new()));
    TestBot::start_with(older, |settings| settings.database = Some(bot.database())).await;
    assert_eq!(count(&bot, "facts").await, 0);
}

#[tokio::test]
async fn role_that_may_create_nothing_runs_on_tables_that_are_there() {
    let bot = TestBot::start(Bot::new()).await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    let superuser = bot.database().username("postgres");
    let mut superuser = <sqlx::PgConnection as sqlx::Connection>::connect_with(&superuser)
        .await
        .unwrap();
    for statement in [
        format!("create role {role} login"),
        format!("grant usage on schema rejoinder to {role}"),
        format!("grant select, insert, update, delete on all tables in schema rejoinder to {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut superuser)
            .await
            .unwrap();
    }
    let url = sqlx::ConnectOptions::to_url_lossy(&bot.database().username(&role));
    let mut command = crate::serve::rejoinder();
    command.env("DATABASE_URL", url.as_str()).args(["events", "dead"]);
    let ran = crate::events::command::ran(command);
    assert_eq!((ran.code, ran.out.as_str()), (0, "no dead letters\n"), "{}", ran.err);
}
