//! `rejoinder forget`: nothing of what was known of a user is in any table afterwards.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use rejoinder::testing::TestBot;
use rejoinder::{Clock, Data, Fail, Reply, Tx};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::command::{Ran, run};
use super::shop::{self, count, shipped, status_of};
use crate::support::{Gate, es, eventually, metrics, said};

/// What must not be found. It stands in every value that the events carry.
const MARK: &str = "Zxqv77";

/// Where the mark is found: table and column, of all tables.
async fn places(bot: &TestBot) -> Vec<String> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "select c.table_schema::text, c.table_name::text, c.column_name::text from information_schema.columns c
         join information_schema.tables t using (table_schema, table_name)
         where c.table_schema in ('public', 'rejoinder') and t.table_type = 'BASE TABLE'",
    )
    .fetch_all(bot.pool())
    .await
    .unwrap();
    assert!(columns.len() > 80, "{} columns", columns.len());
    let mut found = Vec::new();
    for (schema, table, column) in columns {
        // A column of bytes is searched for the mark's bytes.
        let sql = format!(
            "select exists (select from \"{schema}\".\"{table}\" where position(lower($1) in lower(\"{column}\"::text)) > 0
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

fn user() -> String {
    format!("user-{MARK}")
}

fn session() -> String {
    format!("projects/p/agent/sessions/{MARK}")
}

/// The user has a conversation, follows order 10046 and hears of orders.
async fn know_the_user(bot: &TestBot) {
    for sql in [
        "insert into rejoinder.conversations (session, user_id, seen_at) values ($2, $1, now())",
        "insert into rejoinder.follows (entity_id, user_id, followed_at) select '10046', $1, now() where $2 <> ''",
        "insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) select $1, 'orders', true, now() where $2 <> ''",
        "insert into rejoinder.late_replies (key, body, expires_at, session)
         select sha256($1::bytea), convert_to($1, 'utf8'), now() + interval '1 day', $2",
    ] {
        sqlx::query(sql)
            .bind(user())
            .bind(session())
            .execute(bot.pool())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Forgets the user; once that waits for others, or is done with, `meanwhile` happens.
async fn forget_while(bot: &TestBot, meanwhile: impl Future<Output = ()>) -> Ran {
    let user = user();
    let waits_or_is_done = async || {
        let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted
                and database = (select oid from pg_database where datname = current_database()))
            or exists (select from rejoinder.event_audit where action = 'forget')";
        sqlx::query_scalar(waits).fetch_one(bot.pool()).await.unwrap()
    };
    let meanwhile = async {
        eventually("forgetting waits, or is done", waits_or_is_done).await;
        meanwhile.await;
    };
    let (ran, ()) = join(run(bot, &["forget", &user]), meanwhile).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// That nothing is left of the user, and a second time erases nothing.
async fn is_forgotten(bot: &TestBot) {
    assert_eq!(places(bot).await, Vec::<String>::new());
    let again = run(bot, &["forget", &user(), "--json"]).await;
    let erased: Value = serde_json::from_str(&again.out).unwrap();
    let erased = erased.as_object().unwrap();
    assert!(erased.values().all(|count| count == 0), "{erased:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_applied_while_a_user_is_forgotten_is_forgotten_too() {
    let bot = shop::open().await;
    know_the_user(&bot).await;
    // A fact that somebody else is writing holds the event up: whom it concerns is known, and not written yet.
    let mut other = bot.pool().begin().await.unwrap();
    sqlx::query(
        "insert into rejoinder.facts (scope, subject, name, value, set_at) values ('entity', '10046', 'status', '1', now())",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    assert_eq!(bot.send("order.shipped", "10046", shipped("1Z")).await.0, 202);
    let is_held_up = "select exists (select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock')";
    eventually("the event is held up", async || {
        sqlx::query_scalar(is_held_up).fetch_one(bot.pool()).await.unwrap()
    })
    .await;
    forget_while(&bot, async { other.commit().await.unwrap() }).await;
    bot.events_applied().await;
    assert_eq!(
        status_of(&bot, "10046").await,
        "- -",
        "the event's facts are gone with its payload"
    );
    is_forgotten(&bot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_is_forgotten_while_events_of_theirs_are_applied_and_told() {
    let bot = shop::open_with(|settings| settings.notifications.notifications_per_hour = 10_000).await;
    for _ in 0..3 {
        know_the_user(&bot).await;
        let is_forgotten_by = count(&bot, "rejoinder.event_audit where action = 'forget'").await + 1;
        let events = async {
            // Until it is done, and a little longer.
            while count(&bot, "rejoinder.event_audit where action = 'forget'").await < is_forgotten_by {
                join_all((0..8).map(|_| bot.send("order.shipped", "10046", shipped("1Z")))).await;
            }
            join_all((0..8).map(|_| bot.send("order.shipped", "10046", shipped("1Z")))).await;
        };
        let forgetting = async {
            eventually("messages are told", async || {
                count(
                    &bot,
                    &format!("rejoinder.chat_messages where session = '{}'", session()),
                )
                .await
                    > 20
            })
            .await;
            let ran = run(&bot, &["forget", &user()]).await;
            assert_eq!(ran.code, 0, "{ran:?}");
        };
        tokio::time::timeout(Duration::from_secs(60), join(events, forgetting))
            .await
            .expect("forgetting ends");
        bot.events_applied().await;
        is_forgotten(&bot).await;
    }
}

/// Says who the user is, once it is let go.
async fn late(gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text(format!("you are {MARK}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_is_late_when_its_user_is_forgotten_leaves_no_reply() {
    let gate = Gate::closed();
    let shop = shop::shop()
        .data(gate.clone())
        .intent("Late", late)
        .slow(&[("en", "Wait.")]);
    let bot = TestBot::start_with(shop, |settings| {
        settings.now = Clock::system().now();
        settings.turns.answer_margin_ms = 4_700;
    })
    .await;
    sqlx::query("insert into rejoinder.conversations (session, user_id, seen_at) values ($1, $2, now())")
        .bind(session())
        .bind(user())
        .execute(bot.pool())
        .await
        .unwrap();
    let mut turn = es("r1", "Late", json!({}));
    turn["session"] = json!(session());
    assert_eq!(said(&bot.turn(&turn).await), "Wait.");
    let ran = run(&bot, &["forget", &user()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    gate.open();
    eventually("the handler has ended, and nobody waits for it", async || {
        metrics(&bot).await.contains("rejoinder_late_replies 0")
    })
    .await;
    is_forgotten(&bot).await;
}

/// Changes nothing, in a transaction, once it is let go.
async fn slowly(gate: Data<Gate>, _tx: Tx) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text(format!("you are {MARK}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turn_that_runs_while_its_user_is_forgotten_leaves_no_reply() {
    let gate = Gate::closed();
    let shop = shop::shop().data(gate.clone()).intent("Slowly", slowly);
    let bot = TestBot::start_with(shop, |settings| settings.now = Clock::system().now()).await;
    know_the_user(&bot).await;
    let mut turn = es("r1", "Slowly", json!({}));
    turn["session"] = json!(session());
    let forgetting = async {
        eventually("the turn runs", async || gate.entered() == 1).await;
        forget_while(&bot, async { gate.open() }).await;
    };
    join(bot.turn(&turn), forgetting).await;
    is_forgotten(&bot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_forgotten_user_is_in_any_table() {
    let bot = shop::open().await;
    let (user, session) = (user(), session());
    know_the_user(&bot).await;
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
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 1);
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
    assert!(
        count(&bot, "rejoinder.event_log").await >= 5,
        "that events came is still known"
    );
    assert_eq!(count(&bot, "rejoinder.event_audit where action = 'forget'").await, 1);
    is_forgotten(&bot).await;
    assert_eq!(status_of(&bot, "10046").await, "- -");
}
