//! Gotos, as the next turn sees them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{SESSION, applied, eventually};
use crate::bot::Bot;
use crate::conversation::goto::GotoKind;
use crate::conversation::recipient::Recipient;
use crate::fail::Fail;
use crate::handler::Context;
use crate::reactions::effects::goto::Goto;
use crate::reactions::effects::{Effect, after_commit};
use crate::reply::{Kept, Reply};
use crate::testing::TestBot;

#[derive(Debug, Deserialize, Serialize)]
struct Parcel {
    order: String,
}

impl Kept for Parcel {
    const CONTEXT: &'static str = "parcel";
}

async fn parcel(parcel: Option<Context<Parcel>>) -> Result<Reply, Fail> {
    Ok(Reply::text(
        parcel.map_or("none".to_owned(), |Context(parcel)| parcel.order),
    ))
}

async fn fails(Context(parcel): Context<Parcel>) -> Result<Reply, Fail> {
    Err(Fail::say(parcel.order))
}

fn bot() -> Bot {
    Bot::new().intent("Parcel", parcel).intent("Fails", fails)
}

fn turn(response_id: &str, intent: &str) -> Value {
    json!({
        "responseId": response_id,
        "session": SESSION,
        "queryResult": {"intent": {"displayName": intent}, "parameters": {}, "languageCode": "en"},
    })
}

async fn goto(bot: &TestBot, session: &str, kind: GotoKind, name: &str) {
    let effect = Effect::Goto(Goto {
        to: Recipient::Session(session.to_owned()),
        kind,
        name: name.to_owned(),
        parameters: Map::from_iter([("order".to_owned(), json!("10042"))]),
    });
    let done = applied(bot.pool(), bot.clock().now(), 1, &[effect]).await;
    bot.conversation().committed(&after_commit(&done)).await;
}

async fn learned(bot: &TestBot, session: &str) {
    eventually("the goto is known", async || {
        bot.conversation().pending.of(session).is_some()
    })
    .await;
}

#[tokio::test]
async fn context_is_active_at_the_next_turn_and_kept_by_the_platform() {
    let one = TestBot::start(bot()).await;
    let two = TestBot::start_with(bot(), |settings| settings.database = Some(one.database())).await;
    goto(&one, SESSION, GotoKind::Context, "parcel").await;
    learned(&one, SESSION).await;
    learned(&two, SESSION).await;
    let reply = two.turn(&turn("r1", "Parcel")).await;
    assert_eq!(reply["fulfillmentText"], "10042");
    let kept = json!({"order": "10042", "rejoinder": {"order": "10042"}});
    assert_eq!(
        reply["outputContexts"],
        json!([{"name": format!("{SESSION}/contexts/parcel"), "lifespanCount": 5, "parameters": kept}])
    );
    // The same turn again, at another replica and at this one; then the next.
    assert_eq!(one.turn(&turn("r1", "Parcel")).await, reply);
    assert_eq!(two.turn(&turn("r1", "Parcel")).await, reply);
    for bot in [&one, &two] {
        assert_eq!(bot.turn(&turn("r2", "Parcel")).await["fulfillmentText"], "none");
        assert_eq!(bot.conversation().pending.of(SESSION), None);
    }
}

#[tokio::test]
async fn turn_that_fails_keeps_the_context_and_finds_it_when_it_is_retried() {
    let bot = TestBot::start(bot()).await;
    goto(&bot, SESSION, GotoKind::Context, "parcel").await;
    learned(&bot, SESSION).await;
    for _ in 0..2 {
        let reply = bot.turn(&turn("r1", "Fails")).await;
        assert_eq!(reply["fulfillmentText"], "10042");
        assert_eq!(reply["outputContexts"][0]["parameters"]["order"], "10042");
    }
}

#[tokio::test]
async fn event_is_the_answer_to_the_next_turn() {
    let bot = TestBot::start(bot()).await;
    goto(&bot, SESSION, GotoKind::Event, "PARCEL_LOST").await;
    learned(&bot, SESSION).await;
    let reply = bot.turn(&turn("r1", "Parcel")).await;
    assert_eq!(
        reply["followupEventInput"],
        json!({"name": "PARCEL_LOST", "parameters": {"order": "10042"}, "languageCode": "en"})
    );
    assert_eq!(bot.turn(&turn("r2", "Parcel")).await["fulfillmentText"], "none");
}

#[tokio::test]
async fn context_is_a_session_parameter_in_cx() {
    let session = "projects/p/locations/global/agents/a/sessions/ada";
    let bot = TestBot::start(Bot::new().tag("parcel", parcel)).await;
    goto(&bot, session, GotoKind::Context, "parcel").await;
    learned(&bot, session).await;
    let turn = json!({"detectIntentResponseId": "r1", "fulfillmentInfo": {"tag": "parcel"},
        "sessionInfo": {"session": session}, "languageCode": "en"});
    let reply = bot.turn(&turn).await;
    assert_eq!(reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0], "10042");
    assert_eq!(reply["sessionInfo"]["parameters"]["parcel"]["order"], "10042");
}

#[tokio::test]
async fn goto_of_before_the_start_is_found_and_one_of_yesterday_is_not() {
    let first = TestBot::start(bot()).await;
    goto(&first, SESSION, GotoKind::Context, "parcel").await;
    let second = TestBot::start_with(bot(), |settings| settings.database = Some(first.database())).await;
    learned(&second, SESSION).await;
    second.clock().advance(chrono::TimeDelta::hours(24));
    assert_eq!(second.turn(&turn("r1", "Parcel")).await["fulfillmentText"], "none");
}

#[tokio::test]
async fn goto_that_cannot_be_read_in_time_is_left_for_the_next_turn() {
    let bot = TestBot::start_with(bot(), |settings| settings.turns.answer_margin_ms = 4_000).await;
    goto(&bot, SESSION, GotoKind::Context, "parcel").await;
    learned(&bot, SESSION).await;
    let mut held = bot.pool().begin().await.unwrap();
    let lock = "select id from rejoinder.gotos for update";
    sqlx::query(lock).execute(&mut *held).await.unwrap();
    let began = Instant::now();
    assert_eq!(bot.turn(&turn("r1", "Parcel")).await["fulfillmentText"], "none");
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    held.rollback().await.unwrap();
    // The statement that waited for the lock ends with its transaction.
    let waiting = "select not exists (select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock')";
    eventually("nobody waits", async || {
        sqlx::query_scalar(waiting).fetch_one(bot.pool()).await.unwrap()
    })
    .await;
    assert_eq!(bot.turn(&turn("r2", "Parcel")).await["fulfillmentText"], "10042");
}
