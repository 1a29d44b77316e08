//! What a handler remembers of a conversation and of its user, and who hears of it.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Db, Fail, Memory, Params, Reply, Tx, Verified};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::events::command;
use crate::support::said;

#[derive(Deserialize)]
struct Told {
    color: Option<String>,
    user_id: Option<String>,
}

/// Remembers what it is told, and says what it knows.
async fn remembering(Params(told): Params<Told>, memory: Memory, db: Db) -> Result<Reply, Fail> {
    if let Some(user_id) = &told.user_id {
        let mut connection = db.acquire().await?;
        memory.identify(&mut connection, user_id).await?;
    }
    if let Some(color) = &told.color {
        memory.remember("color", color).await?;
        memory.remember_of_user("color", color).await?;
    }
    let (session, user) = (memory.session().await?, memory.user().await?);
    let color = |known: Option<String>| known.unwrap_or_else(|| "none".to_owned());
    Ok(Reply::text(format!(
        "{} {}",
        color(session.get("color")),
        color(user.get("color"))
    )))
}

fn turn(session: &str, parameters: Value) -> Value {
    json!({
        "session": format!("projects/p/agent/sessions/{session}"),
        "queryResult": {"intent": {"displayName": "Remember"}, "parameters": parameters, "languageCode": "en"},
    })
}

#[tokio::test]
async fn fact_of_a_user_is_known_in_all_conversations_of_theirs() {
    let bot = TestBot::start(Bot::new().intent("Remember", remembering)).await;
    let say = async |session: &str, parameters: Value| said(&bot.turn(&turn(session, parameters)).await).to_owned();
    assert_eq!(say("a", json!({})).await, "none none");
    assert_eq!(say("a", json!({"color": "red"})).await, "red red");
    assert_eq!(say("b", json!({"user_id": "ada"})).await, "none none");
    // Nobody was identified in the first: what it knew of its user is Ada's.
    assert_eq!(say("a", json!({"user_id": "ada"})).await, "red red");
    assert_eq!(say("b", json!({})).await, "none red");
    assert_eq!(say("b", json!({"color": "blue"})).await, "blue blue");
    assert_eq!(say("a", json!({})).await, "red blue");
    // The session goes to another user, and takes nothing of Ada along.
    assert_eq!(say("a", json!({"user_id": "bob"})).await, "red none");
    assert_eq!(say("b", json!({})).await, "blue blue");
}

#[derive(Deserialize)]
struct Shown {
    user_id: String,
    minutes: Option<i64>,
    fails: Option<bool>,
}

/// Takes every user's word.
async fn verify(Params(shown): Params<Shown>, memory: Memory, mut tx: Tx) -> Result<Reply, Fail> {
    match shown.minutes.map(TimeDelta::minutes) {
        Some(lasting) => memory.identify_for(lasting, &mut tx, &shown.user_id).await?,
        None => memory.identify(&mut tx, &shown.user_id).await?,
    }
    match shown.fails {
        Some(true) => Err(Fail::say("no")),
        Some(false) | None => Ok(Reply::text("yes")),
    }
}

async fn secret(Verified(user_id): Verified) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("the secret of {user_id}")))
}

const VERIFY_FIRST: &str = "Please verify your identity first.";

fn vault() -> Bot {
    Bot::new().intent("Verify", verify).intent("Secret", secret)
}

/// What is said to this intent in the conversation `session`.
async fn hear(bot: &TestBot, session: &str, intent: &str, parameters: Value) -> String {
    let mut turn = turn(session, parameters);
    turn["queryResult"]["intent"]["displayName"] = json!(intent);
    said(&bot.turn(&turn).await).to_owned()
}

#[tokio::test]
async fn identity_holds_in_its_conversation_at_every_replica_until_it_expires() {
    let bot = TestBot::start(vault()).await;
    let other = TestBot::start_with(vault(), |settings| settings.database = Some(bot.database())).await;
    let ask = async |bot: &TestBot, session: &str| hear(bot, session, "Secret", json!({})).await;
    assert_eq!(ask(&bot, "a").await, VERIFY_FIRST);
    // It is the conversation's only if the reply is.
    assert_eq!(
        hear(&bot, "a", "Verify", json!({"user_id": "ada", "fails": true})).await,
        "no"
    );
    assert_eq!(ask(&bot, "a").await, VERIFY_FIRST);
    assert_eq!(hear(&bot, "a", "Verify", json!({"user_id": "ada"})).await, "yes");
    assert_eq!(
        hear(&bot, "b", "Verify", json!({"user_id": "bob", "minutes": 5})).await,
        "yes"
    );
    for bot in [&bot, &other] {
        assert_eq!(ask(bot, "a").await, "the secret of ada");
        assert_eq!(ask(bot, "b").await, "the secret of bob");
        assert_eq!(ask(bot, "c").await, VERIFY_FIRST);
        bot.clock().advance(TimeDelta::minutes(5));
        assert_eq!(ask(bot, "b").await, VERIFY_FIRST);
        bot.clock().advance(TimeDelta::minutes(24));
        assert_eq!(ask(bot, "a").await, "the secret of ada");
        bot.clock().advance(TimeDelta::minutes(1));
        assert_eq!(ask(bot, "a").await, VERIFY_FIRST);
    }
    // Another user of the same conversation takes its place.
    assert_eq!(hear(&bot, "a", "Verify", json!({"user_id": "eve"})).await, "yes");
    assert_eq!(ask(&bot, "a").await, "the secret of eve");
    assert_eq!(
        hear(&bot, "a", "Verify", json!({"user_id": "eve", "minutes": 0})).await,
        "yes"
    );
    assert_eq!(ask(&bot, "a").await, VERIFY_FIRST);
}

#[tokio::test]
async fn forgotten_user_is_verified_nowhere() {
    let bot = TestBot::start(vault()).await;
    for (session, user) in [("a", "ada"), ("a2", "ada"), ("b", "bob")] {
        assert_eq!(hear(&bot, session, "Verify", json!({"user_id": user})).await, "yes");
    }
    let ran = command::run(&bot, &["forget", "ada"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for (session, heard) in [("a", VERIFY_FIRST), ("a2", VERIFY_FIRST), ("b", "the secret of bob")] {
        assert_eq!(hear(&bot, session, "Secret", json!({})).await, heard);
    }
}
