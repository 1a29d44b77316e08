//! A database of the first version, in which the framework's tables stand among the bot's.
//!
//! `tests/fixtures/upgrade/of_0_1.sql` was dumped from that version's service: a user who follows an order and has quiet
//! hours, an order that has shipped, joins that are done and open, an event that waits to be tried again, a dead letter, one
//! in quarantine.

use rejoinder::Bot;
use rejoinder::testing::TestBot;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::events::command::ran_on;
use crate::events::shop::{self, count, status_of};
use crate::support::eventually;

/// A database that was not made by this version, and a bot of this version on it, which is not yet started.
async fn restored() -> PgConnectOptions {
    let name = format!("restored_{}", uuid::Uuid::new_v4().simple());
    let bot = TestBot::start(Bot::new()).await;
    let mut connection = PgConnection::connect_with(&bot.database()).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name} template template0")))
        .execute(&mut connection)
        .await
        .unwrap();
    let options = bot.database().database(&name);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(include_str!("../fixtures/upgrade/of_0_1.sql"))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    options
}

async fn all(options: &PgConnectOptions, sql: &str) -> Vec<String> {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    let all = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_all(&mut connection)
        .await;
    all.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Each table of the schema `public` with its columns.
async fn tables(options: &PgConnectOptions) -> Vec<(String, String)> {
    let sql = "select table_name || ':' || string_agg(quote_ident(column_name), ',' order by ordinal_position)
        from information_schema.columns where table_schema = 'public' group by table_name order by 1";
    let tables = all(options, sql).await;
    let tables = tables.iter().map(|table| table.split_once(':').unwrap());
    tables
        .map(|(name, columns)| (name.to_owned(), columns.to_owned()))
        .collect()
}

async fn rows(options: &PgConnectOptions, schema: &str, (table, columns): &(String, String)) -> Vec<String> {
    all(
        options,
        &format!("select row({columns})::text from {schema}.{table} order by 1"),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_the_first_version_are_moved_with_all_that_is_in_them_and_work_goes_on() {
    let database = restored().await;
    let before = tables(&database).await;
    let mut told = Vec::new();
    for table in &before {
        told.push(rows(&database, "public", table).await);
    }
    let check = ran_on(&database, &["migrate", "--check"]).await;
    assert_eq!(check.code, 1, "{check:?}");
    assert!(
        check.out.starts_with("missing  0005 questions\n") && check.out.ends_with("missing  0015 signed requests\n"),
        "{check:?}"
    );
    assert_eq!(tables(&database).await, before, "a check changes nothing");
    let migrated = ran_on(&database, &["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");

    let bots = [
        "accounts",
        "appointments",
        "customers",
        "orders",
        "pin_tries",
        "stock",
        "transactions",
    ];
    for (table, told) in before.iter().zip(&told) {
        let is_bots = bots.contains(&table.0.as_str());
        if table.0 != "_sqlx_migrations" {
            let schema = if is_bots { "public" } else { "rejoinder" };
            assert_eq!(rows(&database, schema, table).await, *told, "{}", table.0);
        }
    }
    let left = tables(&database).await;
    let left: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, [&["_sqlx_migrations"], &bots[..]].concat());
    let elsewhere = "select p.proname::text from pg_proc p where p.pronamespace = 'public'::regnamespace
        union all select sequence_name::text from information_schema.sequences where sequence_schema = 'public' order by 1";
    assert_eq!(all(&database, elsewhere).await, [""; 0]);
    let recorded = "select version::text from public._sqlx_migrations order by version";
    assert_eq!(all(&database, recorded).await, ["2"], "the bot's alone");
    let again = ran_on(&database, &["migrate"]).await;
    assert_eq!((again.code, again.out.as_str()), (0, "the tables are up to date\n"));

    // What failed for want of an order is tried again, and who follows one hears of it.
    let mut connection = PgConnection::connect_with(&database).await.unwrap();
    sqlx::query("insert into orders (id, status) values ('88888', 'placed')")
        .execute(&mut connection)
        .await
        .unwrap();
    let bot = TestBot::start_with(shop::shop(), |settings| {
        settings.now = "2026-11-28T05:41:00Z".parse().unwrap();
        settings.database = Some(database.clone());
    })
    .await;
    eventually("what was parked is applied", async || {
        count(&bot, "rejoinder.parked_events").await == 0
    })
    .await;
    assert_eq!(shop::times_confirmed(&bot, "88888").await, 1);
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 1);
    assert_eq!(status_of(&bot, "10042").await, "shipped 1Z999AA10123456784");
    assert_eq!(bot.send("order.shipped", "10042", shop::shipped("1Y")).await.0, 202);
    let heard = "rejoinder.chat_messages where position > 5 and session = 'projects/p/agent/sessions/ada'";
    eventually("the follower hears", async || count(&bot, heard).await > 0).await;
    bot.stop().await;
}

#[tokio::test]
async fn several_that_start_at_once_on_tables_of_the_first_version_all_run() {
    let database = restored().await;
    let ran = futures_util::future::join_all((0..4).map(|_| ran_on(&database, &["migrate"]))).await;
    assert!(ran.iter().all(|ran| ran.code == 0), "{ran:?}");
    let outcomes = "select count(*)::text from rejoinder.event_outcomes";
    assert_eq!(all(&database, outcomes).await, ["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_time_outs_did_in_the_first_version_is_told_by_its_kind() {
    let database = restored().await;
    let mut connection = PgConnection::connect_with(&database).await.unwrap();
    sqlx::query(
        r#"insert into public.event_outcomes (position, received_at, applied_at, outcome)
           select position, received_at, now(), '[{"rule": "order_confirmed (time-out)", "effects": []}]'
           from public.event_log order by position limit 1"#,
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let migrated = ran_on(&database, &["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    let time_outs = "select outcome->0->>'rule' from rejoinder.event_outcomes where outcome->0->>'kind' = 'time_out'";
    assert_eq!(all(&database, time_outs).await, ["order_confirmed"]);
}
