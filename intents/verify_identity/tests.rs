//! What recorded turns cannot show of PINs: the lock, and tries that come at once.

use chrono::TimeDelta;
use futures_util::future::join_all;
use rejoinder::testing::TestBot;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Claim, Pin};
use crate::tests::{ask_in, start, text};

const NO_MATCH: &str = "That customer number and PIN do not match. Please check both and try again.";
const LOCKED: &str = "There were too many wrong tries. For your safety, please try again in 15 minutes.";
const WELCOME: &str = "Thank you, Ada. You are verified.";

/// One try, in the conversation `session`.
async fn try_pin(bot: &TestBot, session: usize, customer: &str, pin: &str) -> String {
    let mut turn = ask_in(
        &format!("s{session}"),
        "Verify Identity",
        json!({"user_id": customer, "pin": pin}),
    );
    turn["responseId"] = format!("r{session}-{pin}").into();
    text(&bot.turn(&turn).await)
}

#[rstest]
#[case::customer("12345")]
#[case::nobody("99999")]
#[tokio::test]
async fn fifth_wrong_pin_locks_for_a_quarter_of_an_hour(#[case] customer: &str) {
    let bot = start(|_| {}).await;
    for session in 0..4 {
        assert_eq!(try_pin(&bot, session, customer, "0000").await, NO_MATCH);
    }
    assert_eq!(try_pin(&bot, 4, customer, "0000").await, LOCKED);
    assert_eq!(try_pin(&bot, 5, customer, "1234").await, LOCKED);
    bot.clock().advance(TimeDelta::seconds(14 * 60 + 1));
    let nearly = try_pin(&bot, 6, customer, "1234").await;
    assert!(nearly.ends_with("please try again in a minute."), "{nearly}");
    bot.clock().advance(TimeDelta::seconds(59));
    let after = try_pin(&bot, 7, customer, "1234").await;
    assert_eq!(after, if customer == "12345" { WELCOME } else { NO_MATCH });
}

#[tokio::test]
async fn tries_at_once_do_not_pass_the_limit() {
    let bot = start(|_| {}).await;
    let pins: Vec<String> = (0..20).map(|n| format!("00{n:02}")).collect();
    let tries = pins.iter().enumerate().map(|(n, pin)| try_pin(&bot, n, "12345", pin));
    let said = join_all(tries).await;
    assert_eq!(said.iter().filter(|said| *said == NO_MATCH).count(), 4, "{said:?}");
    assert_eq!(said.iter().filter(|said| *said == LOCKED).count(), 16, "{said:?}");
    assert_eq!(try_pin(&bot, 20, "12345", "1234").await, LOCKED);
    assert_eq!(
        try_pin(&bot, 21, "67890", "4321").await,
        "Thank you, Grace. You are verified."
    );
}

#[tokio::test]
async fn right_pin_and_a_day_without_a_try_start_the_count_anew() {
    let bot = start(|_| {}).await;
    for round in 0..2 {
        for n in 0..4 {
            assert_eq!(try_pin(&bot, round * 10 + n, "12345", "0000").await, NO_MATCH);
        }
        assert_eq!(try_pin(&bot, round * 10 + 4, "12345", "1234").await, WELCOME);
    }
    for n in 20..24 {
        assert_eq!(try_pin(&bot, n, "12345", "0000").await, NO_MATCH);
    }
    bot.clock().advance(TimeDelta::hours(25));
    assert_eq!(try_pin(&bot, 24, "12345", "0000").await, NO_MATCH);
}

#[tokio::test]
async fn turn_that_comes_twice_is_one_try() {
    let bot = start(|_| {}).await;
    for _ in 0..9 {
        assert_eq!(try_pin(&bot, 0, "12345", "0000").await, NO_MATCH);
    }
    assert_eq!(try_pin(&bot, 1, "12345", "1234").await, WELCOME);
}

#[tokio::test]
async fn what_was_wanted_before_the_pin_is_the_customers_after_it() {
    let bot = start(|_| {}).await;
    let rows =
        async |sql: &'static str| -> Vec<String> { sqlx::query_scalar(sql).fetch_all(bot.pool()).await.unwrap() };
    bot.turn(&ask_in("s0", "Notifications - on", json!({"topic": "payments"})))
        .await;
    sqlx::query("insert into rejoinder.follows values ('10041', 'projects/p/agent/sessions/s0', now())")
        .execute(bot.pool())
        .await
        .unwrap();
    assert_eq!(try_pin(&bot, 0, "12345", "0000").await, NO_MATCH);
    let owner = "select user_id from rejoinder.conversations where session = 'projects/p/agent/sessions/s0'";
    assert_eq!(rows(owner).await, ["projects/p/agent/sessions/s0"]);
    assert_eq!(
        try_pin(&bot, 1, "67890", "4321").await,
        "Thank you, Grace. You are verified."
    );
    assert_eq!(try_pin(&bot, 0, "12345", "1234").await, WELCOME);
    assert_eq!(rows(owner).await, ["12345"]);
    let topics = "select topic from rejoinder.subscriptions where user_id = '12345' and opted_in order by 1";
    assert_eq!(rows(topics).await, ["orders", "payments"]);
    let followed = "select entity_id from rejoinder.follows where user_id = '12345' order by 1";
    assert_eq!(rows(followed).await, ["10041", "10042"]);
    let left = "select user_id from rejoinder.follows where user_id like 'projects/%'";
    assert!(rows(left).await.is_empty());
}

const CX_SESSION: &str = "projects/p/locations/global/agents/bank/sessions/s0";

/// What is asked for figures, in the conversation `s0` of an ES agent; each as if 12345 were the customer.
fn questions(forged: bool) -> Vec<Value> {
    let customer = json!({"user_id": "12345"});
    let list = json!({"user_id": "12345", "account_type": "checking", "offset": 5});
    let account =
        json!({"user_id": "12345", "account_type": "checking", "balance": 1.0, "last_updated": "2025-06-23T16:05:00Z"});
    [
        ("Get Account Balance", customer.clone()),
        ("Get Account Balance", json!({"user_id": ""})),
        ("Recent Transactions", customer.clone()),
        ("Recent Transactions", json!({"user_id": ""})),
        ("Recent Transactions - more", json!({})),
    ]
    .into_iter()
    .map(|(intent, parameters)| {
        let mut turn = ask_in("s0", intent, parameters);
        let mut contexts = vec![("transactions-list", list.clone()), ("account-info", account.clone())];
        if forged {
            contexts.push(("verified", json!({"customer_id": "12345"})));
        }
        let contexts = contexts.into_iter().map(|(id, mut kept)| {
            kept["rejoinder"] = kept.clone();
            json!({"name": format!("projects/p/agent/sessions/s0/contexts/{id}"), "lifespanCount": 5, "parameters": kept})
        });
        turn["queryResult"]["outputContexts"] = contexts.collect();
        turn
    })
    .collect()
}

/// The same in a session of CX, where contexts are session parameters.
fn in_cx(turn: &Value) -> Value {
    let query = &turn["queryResult"];
    let mut parameters = query["parameters"].clone();
    for context in query["outputContexts"].as_array().unwrap() {
        let id = context["name"].as_str().unwrap().rsplit('/').next().unwrap();
        parameters[id] = context["parameters"]["rejoinder"].clone();
    }
    json!({
        "fulfillmentInfo": {"tag": "bank"},
        "intentInfo": {"displayName": query["intent"]["displayName"]},
        "sessionInfo": {"session": CX_SESSION, "parameters": parameters},
        "languageCode": "en",
    })
}

/// What the user hears, of either platform.
fn heard(reply: &Value) -> String {
    let cx = &reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0];
    cx.as_str().map_or_else(|| text(reply), str::to_owned)
}

async fn verify_in_cx(bot: &TestBot) {
    let verify = json!({
        "intentInfo": {"displayName": "Verify Identity"},
        "sessionInfo": {"session": CX_SESSION, "parameters": {"user_id": "12345", "pin": "1234"}},
        "languageCode": "en",
    });
    assert_eq!(heard(&bot.turn(&verify).await), WELCOME);
}

#[tokio::test]
async fn where_it_is_required_no_forged_context_or_session_parameter_gets_a_figure() {
    let bot = start(|settings| settings.require_verified = true).await;
    let refused = async |turn: &Value| {
        let said = heard(&bot.turn(turn).await);
        assert!(said.starts_with("Please verify your identity first."), "{said}");
    };
    for turn in questions(true) {
        refused(&turn).await;
        refused(&in_cx(&turn)).await;
    }
    // Somebody else's identity is none either.
    assert_eq!(
        try_pin(&bot, 0, "67890", "4321").await,
        "Thank you, Grace. You are verified."
    );
    for (at, turn) in questions(true).into_iter().enumerate() {
        match at {
            // Who asks for no number hears of their own.
            1 => assert!(heard(&bot.turn(&turn).await).contains("€95.10")),
            _ => refused(&turn).await,
        }
    }
}

#[tokio::test]
async fn verified_customer_is_told_until_the_identity_has_expired() {
    let bot = start(|settings| settings.require_verified = true).await;
    assert_eq!(try_pin(&bot, 0, "12345", "1234").await, WELCOME);
    verify_in_cx(&bot).await;
    bot.clock().advance(TimeDelta::seconds(30 * 60 - 1));
    for turn in questions(false) {
        for turn in [in_cx(&turn), turn] {
            let told = heard(&bot.turn(&turn).await);
            assert!(told.contains('$'), "{told}");
        }
    }
    bot.clock().advance(TimeDelta::seconds(1));
    for turn in questions(true) {
        for turn in [in_cx(&turn), turn] {
            let said = heard(&bot.turn(&turn).await);
            assert!(said.starts_with("Please verify your identity first."), "{said}");
        }
    }
    verify_in_cx(&bot).await;
    let told = heard(&bot.turn(&in_cx(&questions(false)[0])).await);
    assert!(told.contains("$3,247.82"), "{told}");
}

#[test]
fn pin_is_not_shown() {
    let claim = Claim {
        user_id: "12345".into(),
        pin: Pin("1234".into()),
    };
    assert_eq!(format!("{claim:?}"), r#"Claim { user_id: "12345", pin: [REDACTED] }"#);
}
