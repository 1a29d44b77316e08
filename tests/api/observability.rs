//! What operators see: metrics by intent, names without a handler, and logs that hold no user's data.

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Fail, Reply};
use serde_json::json;

use crate::serve::Running;
use crate::support::{Gate, es, metrics, numbered, said};

async fn helps() -> Result<Reply, Fail> {
    Ok(Reply::text("I can help with orders."))
}

#[tokio::test]
async fn intent_without_a_handler_gets_the_fallback_and_is_counted_by_name() {
    let bot = TestBot::start(
        Bot::new()
            .data(Gate::opened())
            .intent("Known", numbered)
            .fallback(helps),
    )
    .await;
    bot.turn(&es("r1", "Known", json!({}))).await;
    for response_id in ["r2", "r3"] {
        let reply = bot.turn(&es(response_id, "Not yet written", json!({}))).await;
        assert_eq!(reply["fulfillmentText"], "I can help with orders.");
    }
    let metrics = metrics(&bot).await;
    assert!(
        metrics.contains(r#"rejoinder_unmatched_turns_total{name="Not yet written"} 2"#),
        "{metrics}"
    );
    let replies = |intent: &str| format!(r#"turn_duration_seconds_count{{intent="{intent}",outcome="reply"}}"#);
    assert!(metrics.contains(&format!("{} 1", replies("Known"))), "{metrics}");
    assert!(metrics.contains(&format!("{} 2", replies("(fallback)"))), "{metrics}");
}

#[tokio::test]
async fn missed_budget_and_missed_limit_are_seen_for_each_platform() {
    let bot = Bot::new().data(Gate::opened()).intent("Known", numbered);
    let bot = TestBot::start_with(bot, |settings| settings.turns.dialogflow.cx_limit_ms = 12_000).await;
    bot.turn(&es("r1", "Known", json!({}))).await;
    let metrics = metrics(&bot).await;
    for bound in ["4.5", "5.0", "11.5", "12.0"] {
        let bucket =
            format!(r#"rejoinder_turn_duration_seconds_bucket{{le="{bound}",intent="Known",outcome="reply"}} 1"#);
        assert!(metrics.contains(&bucket), "{bound}: {metrics}");
    }
}

#[tokio::test]
async fn names_from_outside_cannot_fill_the_metrics() {
    let bot = TestBot::start(Bot::new().fallback(helps)).await;
    for n in 0..1_050 {
        bot.turn(&es(&format!("r{n}"), &format!("Name {n}"), json!({}))).await;
    }
    let names = metrics(&bot)
        .await
        .lines()
        .filter(|line| line.starts_with("rejoinder_unmatched_turns_total{"))
        .count();
    assert!((1_000..=1_001).contains(&names), "{names} names");
}

#[tokio::test]
async fn long_names_from_outside_count_by_their_beginning_and_escapes_are_not_shown() {
    let bot = TestBot::start(Bot::new().fallback(helps)).await;
    let long = "x".repeat(200);
    for n in 0..1_000 {
        bot.turn(&es(&format!("r{n}"), &format!("{long}{n}"), json!({}))).await;
    }
    bot.turn(&es("r", "\u{1b}[31mRED\nname", json!({}))).await;
    let metrics = metrics(&bot).await;
    let counted = |name: &str, count: u32| format!("rejoinder_unmatched_turns_total{{name=\"{name}\"}} {count}");
    assert!(metrics.contains(&counted(&long, 1_000)), "{metrics}");
    assert!(
        metrics.contains(&counted("\u{fffd}[31mRED\u{fffd}name", 1)),
        "{metrics}"
    );
    assert!(!metrics.contains('\u{1b}'));
}

#[tokio::test]
async fn name_that_matches_nothing_is_told_once_with_the_one_it_may_be_meant_for() {
    let mut running = Running::start_logged(&[]);
    let http = reqwest::Client::builder().build().unwrap();
    let mut fallback = es("r5", "Default Fallback Intent", json!({}));
    fallback["queryResult"]["intent"]["isFallback"] = json!(true);
    for turn in [
        es("r1", "get account balance", json!({})),
        es("r2", "get account balance", json!({})),
        es("r3", "Zzz", json!({})),
        es("r4", "Order Status", json!({"order_number": "10042"})),
        fallback,
    ] {
        let post = http.post(format!("{}/fulfillment", running.url)).json(&turn);
        assert_eq!(post.send().await.unwrap().status(), 200);
    }
    let logs = running.logs();
    let told: Vec<&str> = logs
        .lines()
        .filter(|line| line.contains("no handler has this name"))
        .collect();
    assert_eq!(told.len(), 2, "{logs}");
    assert!(
        told[0].contains("WARN") && told[0].contains(r#"name="get account balance" nearest="Get Account Balance""#),
        "{logs}"
    );
    assert!(
        told[1].contains(r#"name="Zzz""#) && !told[1].contains("nearest"),
        "{logs}"
    );
    assert!(
        !logs.contains("turn answered"),
        "a line for each turn is for terminals:\n{logs}"
    );
}

#[tokio::test]
async fn context_that_cannot_be_read_is_a_warning_that_names_its_field_and_no_value() {
    let mut running = Running::start_logged(&[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")]);
    let http = reqwest::Client::builder().build().unwrap();
    for (intent, id, heard) in [
        (
            "Recent Transactions - more",
            "transactions-list",
            "I have lost track of what that refers to.",
        ),
        // Where the handler can do without it, too.
        ("Recent Transactions", "account-info", "What is your customer number?"),
    ] {
        let mut turn = es("r1", intent, json!({}));
        let unreadable = json!({"user_id": "marked-user-id", "account_type": "marked 4111111111111111", "offset": 5,
            "balance": 1, "last_updated": "2025-06-23T16:05:00Z"});
        turn["queryResult"]["outputContexts"] = json!([{
            "name": format!("projects/p-1/agent/sessions/s-1/contexts/{id}"),
            "lifespanCount": 5,
            "parameters": unreadable,
        }]);
        let post = http.post(format!("{}/fulfillment", running.url)).json(&turn);
        let reply: serde_json::Value = post.send().await.unwrap().json().await.unwrap();
        assert!(said(&reply).starts_with(heard), "{reply}");
    }
    let logs = running.logs();
    for id in ["transactions-list", "account-info"] {
        let warned = |line: &&str| line.contains("WARN") && line.contains(id) && line.contains("account_type");
        assert!(
            logs.lines().any(|line| warned(&line)),
            "{id} is not in the logs:\n{logs}"
        );
    }
    assert!(!logs.contains("ERROR") && !logs.contains("marked"), "{logs}");
}

#[tokio::test]
async fn logs_name_the_turn_and_hold_no_parameter_body_or_credential() {
    let settings = [
        ("RUST_LOG", "debug"),
        ("LOG_FORMAT", "json"),
        ("AUTH_BEARER", "hush-hush-token"),
    ];
    let mut running = Running::start_logged(&settings);
    let turn = es(
        "response-77",
        "Verify Identity",
        json!({"user_id": "marked-user-id", "pin": "marked-pin"}),
    );
    let http = reqwest::Client::builder().build().unwrap();
    let post = || http.post(format!("{}/fulfillment", running.url)).json(&turn);
    assert_eq!(
        post().bearer_auth("hush-hush-token").send().await.unwrap().status(),
        200
    );
    assert_eq!(
        post().bearer_auth("wrong-marked-token").send().await.unwrap().status(),
        401
    );
    let session = "projects/p-1/agent/sessions/s-1";
    let mut more = es("response-78", "Recent Transactions - more", json!({}));
    more["queryResult"]["outputContexts"] = json!([{
        "name": format!("{session}/contexts/transactions-list"),
        "lifespanCount": 3,
        "parameters": {"user_id": "12345", "account_type": "marked-account", "offset": 5},
    }]);
    for unread in [
        es(
            "response-79",
            "Get Account Balance",
            json!({"user_id": "12345", "account_type": "marked-kind"}),
        ),
        es(
            "response-80",
            "Get Account Balance",
            json!({"user_id": "12345", "account_type": {"marked-key": 1}}),
        ),
        es(
            "response-81",
            "Exchange Rate",
            json!({"to_currency": "USD", "amount": "marked-amount"}),
        ),
        more,
    ] {
        let post = http.post(format!("{}/fulfillment", running.url)).json(&unread);
        assert_eq!(post.bearer_auth("hush-hush-token").send().await.unwrap().status(), 200);
    }
    let logs = running.logs();
    assert!(
        logs.contains("parameter account_type: found another text, expected one of checking, savings, credit"),
        "{logs}"
    );
    for present in ["response-77", "Verify Identity", "s-1"] {
        assert!(logs.contains(present), "{present} is not in the logs:\n{logs}");
    }
    for absent in ["marked-", "hush-hush-token"] {
        assert!(!logs.contains(absent), "{absent} is in the logs:\n{logs}");
    }
}
