//! Programs of one version on tables of another, and `rejoinder migrate`.

use rejoinder::Bot;
use rejoinder::testing::TestBot;

use crate::events::command::{Ran, run};

async fn set(bot: &TestBot, statement: &'static str) {
    sqlx::query(statement).execute(bot.pool()).await.unwrap();
}

const NEWER: &str = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
     values (9999, 'of a newer program', true, '', 0)";

#[tokio::test]
async fn older_program_runs_on_tables_that_are_newer_and_fit() {
    let bot = TestBot::start(Bot::new()).await;
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
    set(&bot, "update schema_compatibility set oldest_known = 9999").await;
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
    let bot = TestBot::start(Bot::new()).await;
    set(&bot, "drop table schema_compatibility").await;
    set(&bot, "delete from _sqlx_migrations where version = 11").await;
    let Ran { code, out, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!((code, out.as_str()), (1, "missing  0011 compatibility\n"));
    let Ran { code, out, .. } = run(&bot, &["migrate"]).await;
    assert_eq!((code, out.as_str()), (0, "applied  0011 compatibility\n"));
    let Ran { code, out, .. } = run(&bot, &["migrate", "--check"]).await;
    assert_eq!((code, out.as_str()), (0, "the tables are up to date\n"));
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
        format!("grant select, insert, update, delete on all tables in schema public to {role}"),
        "revoke create on schema public from public".to_owned(),
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
