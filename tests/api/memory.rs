//! What a handler remembers of a conversation and of its user, and who hears of it.

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Db, Fail, Memory, Params, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

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
