//! Who the user is: verified in a conversation, for a time, and heard of by nobody else.

use chrono::TimeDelta;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Data, Fail, Memory, Params, Reply, Tx, Verified};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::events::command;
use crate::support::{Gate, es, eventually, metrics, said};

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

async fn secret(Verified(user_id): Verified, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    Ok(Reply::text(format!("the secret of {user_id}")))
}

/// Tells those who are verified, and others, too.
async fn greet(verified: Option<Verified>, gate: Data<Gate>) -> Result<Reply, Fail> {
    gate.pass().await;
    let name = verified.map_or("stranger".to_owned(), |Verified(user_id)| user_id);
    Ok(Reply::text(format!("hello, {name}")))
}

const VERIFY_FIRST: &str = "Please verify your identity first.";

const SLOW: &str = "Just a moment.";

fn vault(gate: Gate) -> Bot {
    let bot = Bot::new().data(gate).intent("Verify", verify);
    let bot = bot.intent("Secret", secret).slow(&[("en", SLOW)]);
    bot.intent("Greet", greet).slow(&[("en", SLOW)])
}

/// What is said to this intent in the conversation `session`.
async fn hear(bot: &TestBot, session: &str, intent: &str, parameters: Value) -> String {
    let mut turn = es(&uuid::Uuid::new_v4().to_string(), intent, parameters);
    turn["session"] = json!(format!("projects/p/agent/sessions/{session}"));
    said(&bot.turn(&turn).await).to_owned()
}

#[tokio::test]
async fn identity_holds_in_its_conversation_at_every_replica_until_it_expires() {
    let bot = TestBot::start(vault(Gate::opened())).await;
    let other = TestBot::start_with(vault(Gate::opened()), |settings| {
        settings.database = Some(bot.database())
    })
    .await;
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
    let bot = TestBot::start(vault(Gate::opened())).await;
    for (session, user) in [("a", "ada"), ("a2", "ada"), ("b", "bob")] {
        assert_eq!(hear(&bot, session, "Verify", json!({"user_id": user})).await, "yes");
    }
    let ran = command::run(&bot, &["forget", "ada"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for (session, heard) in [("a", VERIFY_FIRST), ("a2", VERIFY_FIRST), ("b", "the secret of bob")] {
        assert_eq!(hear(&bot, session, "Secret", json!({})).await, heard);
    }
}

/// An ES budget of a second.
fn hurried(settings: &mut TestSettings) {
    settings.turns.answer_margin_ms = 4_000;
    settings.turns.late_reply_ttl_s = 3_600;
}

/// A bot in a hurry, and another on its database that is in none.
async fn replicas(gate: &Gate) -> (TestBot, TestBot) {
    let hurried = TestBot::start_with(vault(gate.clone()), hurried).await;
    let other = vault(Gate::opened());
    let other = TestBot::start_with(other, |settings| settings.database = Some(hurried.database())).await;
    (hurried, other)
}

/// Has `user` verify in the conversation `a`.
async fn verified(bot: &TestBot, user: &str) {
    assert_eq!(hear(bot, "a", "Verify", json!({"user_id": user})).await, "yes");
}

/// What is said in the conversation `a`, as soon as it is said in time.
async fn ask(bot: &TestBot, intent: &str) -> String {
    for _ in 0..20 {
        let heard = hear(bot, "a", intent, json!({})).await;
        if heard != SLOW {
            return heard;
        }
    }
    SLOW.to_owned()
}

/// Asks on behalf of Ada what takes too long, and then lets it end.
async fn late_for_ada(gate: &Gate) -> (TestBot, TestBot) {
    let (bot, other) = replicas(gate).await;
    verified(&other, "ada").await;
    assert_eq!(hear(&bot, "a", "Secret", json!({})).await, SLOW);
    gate.open();
    eventually("the late reply is kept", async || {
        let count = "select count(*) = 1 from rejoinder.late_replies where identity = 'ada'";
        sqlx::query_scalar(count).fetch_one(bot.pool()).await.unwrap()
    })
    .await;
    (bot, other)
}

#[tokio::test]
async fn late_reply_to_a_verified_user_is_theirs_alone_at_every_replica() {
    let (bot, other) = late_for_ada(&Gate::closed()).await;
    eventually("the other replica knows", async || {
        metrics(&other).await.contains("rejoinder_late_replies 1")
    })
    .await;
    verified(&other, "bob").await;
    for bot in [&bot, &other] {
        assert_eq!(ask(bot, "Secret").await, "the secret of bob");
    }
}

#[tokio::test]
async fn late_reply_is_given_while_the_identity_lasts_and_not_after_it() {
    for (minutes, heard) in [(29, "the secret of ada"), (30, VERIFY_FIRST)] {
        let gate = Gate::closed();
        let (bot, _) = late_for_ada(&gate).await;
        bot.clock().advance(TimeDelta::minutes(minutes));
        assert_eq!(ask(&bot, "Secret").await, heard);
        assert_eq!(gate.entered(), 1);
    }
}

#[tokio::test]
async fn run_for_one_user_is_not_joined_by_another() {
    let gate = Gate::closed();
    let (bot, other) = replicas(&gate).await;
    for (runs, user) in [(1, None), (2, Some("ada")), (3, Some("bob"))] {
        if let Some(user) = user {
            verified(&other, user).await;
        }
        assert_eq!(hear(&bot, "a", "Greet", json!({})).await, SLOW);
        eventually("a run of their own", async || gate.entered() == runs).await;
        // Who asks again joins it.
        assert_eq!(hear(&bot, "a", "Greet", json!({})).await, SLOW);
        assert_eq!(gate.entered(), runs);
    }
    gate.open();
    assert_eq!(ask(&bot, "Greet").await, "hello, bob");
    verified(&other, "ada").await;
    assert_eq!(ask(&bot, "Greet").await, "hello, ada");
}
