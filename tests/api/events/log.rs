//! The log: an event is in it once, and those of one entity in order.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::json;

use super::directory::Directory;
use super::shop::{self, count, messages, shipped};

const OTHER: &str = "format = 'envelope'\n[secret]\nenv = 'NO_SUCH_SECRET'\ngenerated = true\n\
                     [scheme]\nkind = 'standard-webhooks'\n";

#[tokio::test]
async fn event_sent_twice_is_a_duplicate_and_acts_once() {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    let (status, answer) = bot.post_event("generic", &event).await;
    assert_eq!((status, &answer["status"]), (202, &json!("stored")));
    for _ in 0..2 {
        let (status, answer) = bot.post_event("generic", &event).await;
        assert_eq!((status, &answer["status"]), (200, &json!("duplicate")));
        assert_eq!(answer["event_id"], event["event_id"]);
    }
    bot.clock().advance(TimeDelta::days(7));
    assert_eq!(bot.post_event("generic", &event).await.0, 200);
    bot.events_applied().await;
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
    assert_eq!(messages(&bot).await, ["Your order #10042 has shipped"]);
}

#[tokio::test]
async fn same_id_from_another_source_is_another_event() {
    let directory = Directory::copied().with("sources/other.toml", OTHER);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    assert_eq!(bot.post_event("generic", &event).await.0, 202);
    assert_eq!(bot.post_event("other", &event).await.0, 202);
    assert_eq!(bot.post_event("other", &event).await.0, 200);
    assert_eq!(count(&bot, "rejoinder.event_log").await, 2);
}

#[tokio::test]
async fn event_that_stands_twice_in_a_batch_is_stored_once() {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    let (status, answer) = bot.post_event("generic", &json!([event, event])).await;
    assert_eq!(status, 202);
    assert_eq!(answer["events"][0]["status"], "stored");
    assert_eq!(answer["events"][1]["status"], "duplicate");
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_sent_by_many_at_once_is_stored_for_one_of_them() {
    let bot = shop::open().await;
    let event = bot.envelope("order.shipped", "10042", &shipped("1Z"));
    let answers = futures_util::future::join_all((0..16).map(|_| bot.post_event("generic", &event))).await;
    let stored = answers.iter().filter(|(status, _)| *status == 202).count();
    let duplicate = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!((stored, duplicate), (1, 15));
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
}

#[tokio::test]
async fn event_of_another_week_goes_to_a_segment_of_its_own() {
    let bot = shop::open().await;
    for _ in 0..3 {
        assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
        bot.clock().advance(TimeDelta::weeks(1));
    }
    bot.events_applied().await;
    assert_eq!(
        count(&bot, "(select distinct tableoid from rejoinder.event_log) s").await,
        3
    );
    assert_eq!(
        count(&bot, "(select distinct tableoid from rejoinder.event_outcomes) s").await,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_that_is_given_out_anew_names_no_other_event() {
    let directory = Directory::copied().with("schemas/parcel.left/1.json", "{}").with(
        "reactions/tell_parcel.toml",
        "on = ['order.shipped']\n[[do]]\nemit = { type = 'parcel.left', payload = {} }\n",
    );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let names = async |bot: &TestBot| {
        assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
        bot.events_applied().await;
        let names: Vec<String> = sqlx::query_scalar(
            "select id::text from rejoinder.outbox union all select id::text from rejoinder.gotos
             union all select event_id from rejoinder.event_log where source = 'rejoinder' and position = 2",
        )
        .fetch_all(bot.pool())
        .await
        .unwrap();
        names
    };
    let lost = names(&bot).await;
    assert!(lost.len() >= 3, "{lost:?}");
    // As after a failover to a standby that had nothing of it yet.
    sqlx::raw_sql(
        "begin;
         truncate rejoinder.event_log, rejoinder.event_outcomes, rejoinder.event_cursors, rejoinder.outbox, rejoinder.gotos, rejoinder.facts;
         alter sequence rejoinder.event_positions restart;
         commit",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    let database = bot.database();
    bot.stop().await;
    let bot = shop::open_with(|settings| {
        directory.set(settings);
        settings.database = Some(database);
    })
    .await;
    let kept = names(&bot).await;
    assert_eq!(kept.len(), lost.len());
    assert!(kept.iter().all(|name| !lost.contains(name)), "{kept:?} and {lost:?}");
}
