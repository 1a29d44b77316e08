//! `rejoinder forget`: nothing of what was known of a user is in any table afterwards.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::command::run;
use super::shop::{self, count, status_of};

/// What must not be found. It stands in every value that the events carry.
const MARK: &str = "Zxqv77";

/// Where the mark is found: table and column, of all tables.
async fn places(bot: &TestBot) -> Vec<String> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select c.table_name::text, c.column_name::text from information_schema.columns c
         join information_schema.tables t using (table_schema, table_name)
         where c.table_schema = 'public' and t.table_type = 'BASE TABLE'",
    )
    .fetch_all(bot.pool())
    .await
    .unwrap();
    assert!(columns.len() > 80, "{} columns", columns.len());
    let mut found = Vec::new();
    for (table, column) in columns {
        // A column of bytes is searched for the mark's bytes.
        let sql = format!(
            "select exists (select from \"{table}\" where position(lower($1) in lower(\"{column}\"::text)) > 0
                 or position(encode($1::bytea, 'hex') in \"{column}\"::text) > 0)"
        );
        let is_found: bool = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(MARK)
            .fetch_one(bot.pool())
            .await
            .unwrap();
        if is_found {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

/// Sends an event about the user, who is marked, too.
async fn tell(bot: &TestBot, event_type: &str, entity: &str, payload: &Value) -> u16 {
    let mut event = bot.envelope(event_type, entity, payload);
    event["user_id"] = json!(format!("user-{MARK}"));
    let status = bot.post_event("generic", &event).await.0;
    bot.events_applied().await;
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_forgotten_user_is_in_any_table() {
    let bot = shop::open().await;
    let user = format!("user-{MARK}");
    let session = format!("projects/p/agent/sessions/{MARK}");
    for sql in [
        "insert into conversations (session, user_id, seen_at) values ($2, $1, now())",
        "insert into follows (entity_id, user_id, followed_at) select '10046', $1, now() where $2 <> ''",
        "insert into subscriptions (user_id, topic, opted_in, set_at) select $1, 'orders', true, now() where $2 <> ''",
        "insert into late_replies (key, body, expires_at, session)
         select sha256($1::bytea), convert_to($1, 'utf8'), now() + interval '1 day', $2",
    ] {
        sqlx::query(sql)
            .bind(&user)
            .bind(&session)
            .execute(bot.pool())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    // A join that waits, one that fails, an applied event, one that nobody hears, one in quarantine, and what a turn said.
    assert_eq!(
        tell(&bot, "order.shipped", "10046", &json!({"tracking_number": MARK})).await,
        202
    );
    assert_eq!(
        tell(&bot, "inventory.reserved", "10046", &json!({"warehouse": MARK})).await,
        202
    );
    assert_eq!(
        tell(&bot, "inventory.reserved", "nowhere", &json!({"warehouse": MARK})).await,
        202
    );
    assert_eq!(
        tell(
            &bot,
            "payment.confirmed",
            "nowhere",
            &json!({"amount": 1, "note": MARK})
        )
        .await,
        202
    );
    for _ in 0..5 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
    assert_eq!(count(&bot, "dead_letters").await, 1);
    assert_eq!(
        tell(&bot, "payment.failed", "10046", &json!({"reason": MARK})).await,
        202
    );
    assert_eq!(tell(&bot, "order.lost", "10046", &json!({"where": MARK})).await, 422);
    let turn = json!({"responseId": "r1", "session": session, "queryResult": {"queryText": "where is it",
        "intent": {"displayName": "Order Status"}, "parameters": {"order_number": "10046"}, "languageCode": "en"}});
    bot.turn(&turn).await;
    assert_eq!(status_of(&bot, "10046").await, format!("shipped {MARK}"));
    let before = places(&bot).await;
    for place in [
        "event_log.payload",
        "event_outcomes.outcome",
        "facts.value",
        "dead_letters.payload",
        "event_joins.seen",
        "quarantined_events.envelope",
        "conversations.user_id",
        "chat_messages.session",
        "outbox.user_id",
    ] {
        assert!(
            before.iter().any(|found| found == place),
            "{place} is not among {before:?}"
        );
    }

    let ran = run(&bot, &["forget", &user]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(places(&bot).await, Vec::<String>::new());
    assert!(count(&bot, "event_log").await >= 5, "that events came is still known");
    assert_eq!(count(&bot, "event_audit where action = 'forget'").await, 1);
    let again = run(&bot, &["forget", &user, "--json"]).await;
    let erased: Value = serde_json::from_str(&again.out).unwrap();
    let erased = erased.as_object().unwrap();
    assert!(erased.values().all(|count| count == 0), "{erased:?}");
    assert_eq!(status_of(&bot, "10046").await, "- -");
}
