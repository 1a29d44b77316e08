//! Who reads the log from a position on sees every event, in order, however the commits of those who append overlap.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{AssertSqlSafe, PgPool};

use crate::site::{Site, random};

/// How many append at once, and how often each does.
const APPENDERS: u64 = 8;
const TIMES: u64 = 60;

/// A log: how it is appended to, and its name.
struct Log {
    table: &'static str,
    append: &'static str,
}

const OURS: Log = Log {
    table: "rejoinder.event_log",
    append: "select rejoinder.append_events(array[0::smallint], array['test'], array[$1], array['t'], array['e'], array[null],
        array[1], array[now()], array['{}'], array[null], now(), now() - interval '8 days')",
};

/// As it is often done.
const NAIVE: Log = Log {
    table: "naive_log",
    append: "insert into naive_log (event_id) values ($1)",
};

#[tokio::test]
async fn reader_of_the_log_sees_every_event_in_order() {
    let site = Site::start().await;
    site.run("select rejoinder.create_event_segment(date_trunc('week', now() at time zone 'UTC')::date)")
        .await;
    let (seen, stored) = follow(&site.pool, &OURS).await;
    assert_eq!(stored.len() as u64, APPENDERS * TIMES);
    assert_eq!(seen, stored);
}

#[tokio::test]
async fn the_same_reader_of_a_naive_log_skips_events() {
    let site = Site::start().await;
    site.run("create table naive_log (position bigint generated always as identity, event_id text)")
        .await;
    let (seen, stored) = follow(&site.pool, &NAIVE).await;
    assert_eq!(stored.len() as u64, APPENDERS * TIMES);
    assert!(
        seen.len() < stored.len(),
        "the test cannot tell a log that skips from one that does not"
    );
}

/// What somebody saw who read on and on while many appended, and what there was in the end.
async fn follow(pool: &PgPool, log: &Log) -> (Vec<i64>, Vec<i64>) {
    // With connections of their own.
    let options = (*pool.connect_options()).clone();
    let appenders = sqlx::postgres::PgPoolOptions::new()
        .max_connections(u32::try_from(APPENDERS).unwrap())
        .connect_lazy_with(options);
    let is_over = AtomicBool::new(false);
    let append = async {
        let each = (0..APPENDERS).map(|appender| append(&appenders, log, appender));
        futures_util::future::join_all(each).await;
        is_over.store(true, Ordering::SeqCst);
    };
    let read = async {
        let mut seen: Vec<i64> = Vec::new();
        loop {
            let was_over = is_over.load(Ordering::SeqCst);
            let query = format!(
                "select position from {} where position > $1 order by position",
                log.table
            );
            let next: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(query))
                .bind(seen.last().copied().unwrap_or(0))
                .fetch_all(pool)
                .await
                .unwrap();
            if was_over && next.is_empty() {
                return seen;
            }
            seen.extend(next);
        }
    };
    let ((), seen) = tokio::join!(append, read);
    let all = format!("select position from {} order by position", log.table);
    (
        seen,
        sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(pool).await.unwrap(),
    )
}

/// Appends in transactions that take now longer, now shorter, before and after.
async fn append(pool: &PgPool, log: &Log, appender: u64) {
    for n in 0..TIMES {
        let mut transaction = pool.begin().await.unwrap();
        let pause = async |transaction: &mut sqlx::PgConnection| {
            sqlx::query("select pg_sleep($1)")
                .bind(random(4) as f64 / 1_000.0)
                .execute(transaction)
                .await
                .unwrap();
        };
        pause(&mut transaction).await;
        sqlx::query(log.append)
            .bind(format!("{appender}/{n}"))
            .execute(&mut *transaction)
            .await
            .unwrap();
        pause(&mut transaction).await;
        transaction.commit().await.unwrap();
    }
}
