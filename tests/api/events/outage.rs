//! The database goes away and comes back; events do not take from turns what they need.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rejoinder::config::ProgramSettings;
use rejoinder::postgres::embedded::Embedded;
use serde_json::json;

use super::shop::{self, count, shipped, status_of};
use crate::support::{eventually, metrics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_cannot_be_stored_is_503_with_retry_after_and_is_taken_once_it_can() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut postgres = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
    let options = postgres.options();
    let bot = shop::open_with(|settings| settings.database = Some(options)).await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("before")).await.0, 202);

    tokio::task::block_in_place(|| postgres.stop());
    let event = bot.envelope("order.shipped", "10042", &shipped("after"));
    let asked = Instant::now();
    let response = bot.signed("generic", event.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert!(asked.elapsed() < Duration::from_secs(4), "after {:?}", asked.elapsed());

    drop(postgres);
    let _postgres = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
    eventually("stored", async || {
        matches!(bot.post_event("generic", &event).await.0, 200 | 202)
    })
    .await;
    // The pool may still hold a connection of before, which it does not ask anew while it is fresh.
    eventually("the pool answers", async || {
        sqlx::query("select 1").execute(bot.pool()).await.is_ok()
    })
    .await;
    assert_eq!(count(&bot, "rejoinder.event_log").await, 2);
    eventually("applied", async || status_of(&bot, "10042").await == "shipped after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_the_database_refuses_holds_up_no_other() {
    let bot = shop::open().await;
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as
         $$ begin raise exception using errcode = '22023', message = 'no'; end $$;
         create trigger refuse before insert on rejoinder.event_log for each row when (new.entity_id = 'refused')
             execute function refuse()",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    let connections = async || -> Vec<i32> {
        let pids = "select pid from pg_stat_activity where application_name like 'rejoinder ingest%'
            and datname = current_database() order by pid";
        sqlx::query_scalar(pids).fetch_all(bot.pool()).await.unwrap()
    };
    let before = connections().await;
    assert_eq!(before.len(), 2);
    for _ in 0..3 {
        assert_eq!(bot.send("order.shipped", "refused", shipped("1Z")).await.0, 503);
        let sends = (0..20).map(|n: i32| {
            let (bot, entity) = (&bot, if n % 4 == 0 { "refused" } else { "10042" });
            async move {
                (
                    entity,
                    bot.send("order.shipped", entity, shipped(&n.to_string())).await.0,
                )
            }
        });
        for (entity, status) in futures_util::future::join_all(sends).await {
            assert_eq!(status, if entity == "refused" { 503 } else { 202 }, "{entity}");
        }
    }
    assert_eq!(connections().await, before, "both connections are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_answered_while_every_connection_for_events_waits() {
    let bot = shop::open().await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    let mut lock = bot.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('rejoinder event log'))")
        .execute(&mut *lock)
        .await
        .unwrap();
    let sends = (0..20).map(|n| bot.send("order.shipped", "10042", shipped(&n.to_string())));
    let sends = futures_util::future::join_all(sends);
    // One turn after the other, for as long as the sends wait.
    let turns = async {
        loop {
            let asked = Instant::now();
            assert_eq!(status_of(&bot, "10042").await, "shipped 1Z");
            assert!(asked.elapsed() < Duration::from_secs(1), "after {:?}", asked.elapsed());
        }
    };
    let answers: Vec<_> = tokio::select! {
        answers = sends => answers,
        _ = turns => unreachable!("it goes on for ever"),
    };
    assert!(answers.iter().all(|(status, _)| *status == 503), "{answers:?}");
    assert_eq!(answers[0].1["error"]["code"], json!("not_stored"));
    lock.rollback().await.unwrap();
    eventually("taken again", async || {
        bot.send("order.shipped", "10042", shipped("2Z")).await.0 == 202
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_cannot_say_that_it_lives_is_not_ready_until_it_can() {
    let bot = shop::open_with(|settings| settings.silence = Duration::from_secs(2)).await;
    let ready = async || {
        let answer = bot.http().get(bot.url("/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let age = async || -> f64 {
        let figures = metrics(&bot).await;
        let line = figures
            .lines()
            .find_map(|line| line.strip_prefix("rejoinder_events_beat_age_seconds "));
        line.unwrap().parse().unwrap()
    };
    assert_eq!(ready().await.0, 200);
    sqlx::query("alter function rejoinder.share_partitions rename to share_nothing")
        .execute(bot.pool())
        .await
        .unwrap();
    eventually("not ready", async || ready().await.0 == 503).await;
    let reason = ready().await.1;
    assert!(reason.contains("events are not applied"), "{reason}");
    assert!(age().await > 3.0);
    sqlx::query("alter function rejoinder.share_nothing rename to share_partitions")
        .execute(bot.pool())
        .await
        .unwrap();
    eventually("ready again", async || ready().await.0 == 200).await;
    assert!(age().await < 3.0);
}
