//! A shop's bot: it says what it knows of an order, and confirms one.

use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Clock, Event, Fail, Memory, Params, Reply, Tx};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{es, said};

/// A session of the demo user, who follows order 10042 and hears of orders.
pub(crate) const SESSION: &str = "projects/demo/agent/sessions/1";

#[derive(Deserialize)]
struct Query {
    order_number: String,
}

/// Says the order's status and tracking number, as events have told them.
async fn status(Params(query): Params<Query>, memory: Memory) -> Result<Reply, Fail> {
    let told = memory.about(&query.order_number).await?;
    let status: Option<String> = told.get("status");
    let number: Option<String> = told.get("tracking_number");
    let or_nothing = |fact: Option<String>| fact.unwrap_or_else(|| "-".to_owned());
    Ok(Reply::text(format!("{} {}", or_nothing(status), or_nothing(number))))
}

/// Counts how often it has run in `orders.tracking_number`; fails where there is no such order.
async fn confirm(event: Event, mut tx: Tx) -> anyhow::Result<()> {
    let confirmed = sqlx::query(
        "update orders set status = 'confirmed', tracking_number = coalesce(tracking_number, '') || '*' where id = $1",
    )
    .bind(&event.entity_id)
    .execute(&mut *tx)
    .await?;
    anyhow::ensure!(confirmed.rows_affected() == 1, "there is no order {}", event.entity_id);
    Ok(())
}

pub(crate) fn shop() -> Bot {
    Bot::new()
        .migrations(sqlx::migrate!("intents/migrations"))
        .demo_data("customers", include_str!("../../../intents/demo.sql"))
        .intent("Order Status", status)
        .reaction("confirm_order", confirm)
}

/// The shop, on a clock that is held at the machine's time, which is what the commands go by.
pub(crate) async fn open() -> TestBot {
    open_with(|_| {}).await
}

pub(crate) async fn open_with(change: impl FnOnce(&mut TestSettings)) -> TestBot {
    TestBot::start_with(shop(), |settings| {
        settings.now = Clock::system().now();
        change(settings);
    })
    .await
}

/// What the bot says of an order.
pub(crate) async fn status_of(bot: &TestBot, order: &str) -> String {
    let turn = es(
        &uuid::Uuid::new_v4().to_string(),
        "Order Status",
        json!({"order_number": order}),
    );
    said(&bot.turn(&turn).await).to_owned()
}

/// How often an order was confirmed.
pub(crate) async fn times_confirmed(bot: &TestBot, order: &str) -> usize {
    let stars: Option<String> = sqlx::query_scalar("select tracking_number from orders where id = $1")
        .bind(order)
        .fetch_one(bot.pool())
        .await
        .unwrap();
    stars.unwrap_or_default().len()
}

/// How many rows a table has.
pub(crate) async fn count(bot: &TestBot, table: &str) -> i64 {
    let sql = format!("select count(*) from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

/// The texts of the messages that were sent to the chat, in order.
pub(crate) async fn messages(bot: &TestBot) -> Vec<String> {
    sqlx::query_scalar("select text from rejoinder.chat_messages where session = $1 order by position")
        .bind(SESSION)
        .fetch_all(bot.pool())
        .await
        .unwrap()
}

pub(crate) fn shipped(number: &str) -> Value {
    json!({"tracking_number": number})
}
