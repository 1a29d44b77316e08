//! Joins: an order is confirmed once it is paid and its goods are set aside.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use rejoinder::{Event, Tx};
use rstest::rstest;
use serde_json::{Value, json};

use super::directory::Directory;
use super::shop::{self, count, messages, shop, status_of, times_confirmed};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const BOTH: [&str; 2] = ["payment.confirmed", "inventory.reserved"];

fn payload(event_type: &str) -> Value {
    match event_type {
        "payment.confirmed" => json!({"amount": 12.5, "currency": "USD"}),
        _ => json!({"warehouse": "north"}),
    }
}

async fn tell(bot: &TestBot, event_type: &str) {
    let (status, answer) = bot.send(event_type, "10042", payload(event_type)).await;
    assert_eq!(status, 202, "{answer}");
    bot.events_applied().await;
}

/// Stops the service, and starts another on its database, so much later.
async fn restarted(bot: TestBot, later: TimeDelta) -> TestBot {
    let (database, now) = (bot.database(), bot.clock().now() + later);
    bot.stop().await;
    TestBot::start_with(shop(), |settings| {
        settings.database = Some(database);
        settings.now = now;
    })
    .await
}

#[rstest]
#[case::paid_first(0)]
#[case::reserved_first(1)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payment_and_goods_in_either_order_confirm_an_order_once_across_a_restart(#[case] first: usize) {
    let bot = shop::open().await;
    tell(&bot, BOTH[first]).await;
    assert_eq!(times_confirmed(&bot, "10042").await, 0);
    let bot = restarted(bot, TimeDelta::minutes(5)).await;
    tell(&bot, BOTH[1 - first]).await;
    bot.clock().advance(TimeDelta::minutes(4));
    for event_type in BOTH {
        tell(&bot, event_type).await;
    }
    bot.clock().advance(TimeDelta::minutes(20));
    bot.events_applied().await;
    assert_eq!(times_confirmed(&bot, "10042").await, 1);
    assert_eq!(messages(&bot).await, ["Order confirmed: #10042"]);
    assert_eq!(status_of(&bot, "10042").await, "confirmed -");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_of_a_time_out_carries_the_trace_of_the_event_that_came() {
    let bot = shop::open().await;
    let event = bot.envelope(BOTH[0], "10042", &payload(BOTH[0])).to_string();
    let post = bot.signed("generic", event).header("traceparent", TRACEPARENT);
    assert_eq!(post.send().await.unwrap().status().as_u16(), 202);
    bot.events_applied().await;
    bot.clock().advance(TimeDelta::minutes(16));
    bot.events_applied().await;
    assert_eq!(messages(&bot).await, ["Your order #10042 is delayed"]);
    let of_message = sqlx::query_scalar("select traceparent from rejoinder.outbox").fetch_one(bot.pool());
    assert_eq!(of_message.await.ok(), Some(TRACEPARENT.to_owned()));
    let of_event = sqlx::query_scalar("select traceparent from rejoinder.event_log where event_type = 'order.stalled'");
    assert_eq!(of_event.fetch_one(bot.pool()).await.ok(), Some(TRACEPARENT.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn action_of_a_time_out_is_given_the_event_that_came_with_its_type() {
    async fn note(event: Event, mut tx: Tx) -> anyhow::Result<()> {
        let note = sqlx::query("update orders set tracking_number = $1 where id = $2");
        note.bind(&event.event_type)
            .bind(&event.entity_id)
            .execute(&mut *tx)
            .await?;
        Ok(())
    }
    let directory = Directory::copied().with(
        "reactions/stalled.toml",
        "[join]\nall = ['payment.confirmed', 'inventory.reserved']\nwithin = '15m'\n\
         [[join.on_timeout]]\nrun = 'note'\n[[do]]\nremember = { name = 'is_ready', value = 'yes' }\n",
    );
    let bot = TestBot::start_with(shop().reaction("note", note), |settings| directory.set(settings)).await;
    tell(&bot, BOTH[0]).await;
    bot.clock().advance(TimeDelta::minutes(16));
    bot.events_applied().await;
    let noted = sqlx::query_scalar("select tracking_number from orders where id = '10042'").fetch_one(bot.pool());
    assert_eq!(noted.await.ok(), Some(BOTH[0].to_owned()));
}

#[rstest]
#[case::paid(0)]
#[case::reserved(1)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_without_the_other_in_time_gives_the_time_out_once_and_the_late_one_does_nothing(#[case] only: usize) {
    let bot = shop::open().await;
    tell(&bot, BOTH[only]).await;
    bot.clock().advance(TimeDelta::minutes(14));
    bot.events_applied().await;
    assert!(messages(&bot).await.is_empty());
    bot.clock().advance(TimeDelta::minutes(2));
    bot.events_applied().await;
    assert_eq!(messages(&bot).await, ["Your order #10042 is delayed"]);
    tell(&bot, BOTH[1 - only]).await;
    bot.clock().advance(TimeDelta::minutes(60));
    bot.events_applied().await;
    assert_eq!(messages(&bot).await, ["Your order #10042 is delayed"]);
    assert_eq!(times_confirmed(&bot, "10042").await, 0);
    assert_eq!(status_of(&bot, "10042").await, "delayed -");
    assert_eq!(
        count(&bot, "rejoinder.event_log where event_type = 'order.stalled'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_that_passes_while_no_service_runs_gives_the_time_out_once() {
    let bot = shop::open().await;
    tell(&bot, BOTH[0]).await;
    let bot = restarted(bot, TimeDelta::hours(3)).await;
    bot.events_applied().await;
    let bot = restarted(bot, TimeDelta::hours(3)).await;
    bot.events_applied().await;
    assert_eq!(messages(&bot).await, ["Your order #10042 is delayed"]);
    assert_eq!(
        count(&bot, "rejoinder.event_log where event_type = 'order.stalled'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_out_that_the_database_refuses_counts_for_its_join_and_no_other() {
    let directory = Directory::copied().with(
        "reactions/slow.toml",
        "[join]\nall = ['payment.confirmed', 'order.shipped']\nkey = 'entity_id'\nwithin = '1m'\n\
         [[join.on_timeout]]\nremember = { name = 'late', value = 'yes' }\n",
    );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    sqlx::query("alter table rejoinder.facts add constraint refused check (subject <> 'x3' or name <> 'late')")
        .execute(bot.pool())
        .await
        .unwrap();
    // All at one time of the clock, and so with one deadline.
    for n in 0..8 {
        let (order, payment) = (format!("x{n}"), json!({"amount": 1, "currency": "USD"}));
        let sent = bot.send("payment.confirmed", &order, payment);
        assert_eq!(sent.await.0, 202);
    }
    bot.events_applied().await;
    bot.clock().advance(TimeDelta::seconds(61));
    bot.events_applied().await;
    let attempts: Vec<(String, i32)> =
        sqlx::query_as("select key, attempts from rejoinder.event_joins where rule = 'slow' and attempts > 0")
            .fetch_all(bot.pool())
            .await
            .unwrap();
    assert_eq!(attempts, [("x3".to_owned(), 1)]);
    for _ in 0..5 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
    assert_eq!(
        count(
            &bot,
            "rejoinder.event_joins where rule = 'slow' and state = 'timed_out'"
        )
        .await,
        8
    );
    assert_eq!(count(&bot, "rejoinder.facts where name = 'late'").await, 7);
    assert_eq!(
        count(
            &bot,
            "rejoinder.event_audit where detail like 'time-out of rule slow: %'"
        )
        .await,
        1
    );
}
