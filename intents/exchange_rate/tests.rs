//! What recorded turns cannot show of exchange rates: the cache, and a service that does not answer.

use std::time::Duration;

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::tests::{ask, start, start_with, text};

async fn answer(api: &MockServer, answer: ResponseTemplate, times: impl Into<wiremock::Times>) {
    api.reset().await;
    Mock::given(method("GET"))
        .and(path("/v1/latest"))
        .and(query_param("base", "EUR"))
        .respond_with(answer)
        .expect(times)
        .mount(api)
        .await;
}

fn rate(rate: &str) -> ResponseTemplate {
    let body = format!(r#"{{"amount":1.0,"base":"EUR","date":"2026-09-21","rates":{{"USD":{rate}}}}}"#);
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

async fn bot(api: &MockServer) -> TestBot {
    let url = format!("{}/v1/", api.uri()).parse().unwrap();
    start(|settings| settings.rates_api_url = url).await
}

fn question(more: Value) -> Value {
    let mut parameters = json!({"from_currency": "eur", "to_currency": "USD"});
    parameters
        .as_object_mut()
        .unwrap()
        .append(&mut more.as_object().unwrap().clone());
    ask("Exchange Rate", parameters)
}

async fn say(bot: &TestBot) -> String {
    text(&bot.turn(&question(json!({}))).await)
}

#[tokio::test]
async fn rate_is_fetched_once_in_ten_minutes() {
    let api = MockServer::start().await;
    let bot = bot(&api).await;
    answer(&api, rate("1.0312"), 1).await;
    assert_eq!(say(&bot).await, "1 EUR is 1.0312 USD, as of Sep 21, 2026.");
    bot.clock().advance(TimeDelta::seconds(599));
    let amount = bot.turn(&question(json!({"amount": 1234.5}))).await;
    assert_eq!(text(&amount), "€1,234.50 is $1,273.02, as of Sep 21, 2026.");
    // ES `@sys.unit-currency` says both at once.
    let sum = json!({"from_currency": "", "amount": {"amount": 1234.5, "currency": "EUR"}});
    assert_eq!(text(&bot.turn(&question(sum)).await), text(&amount));
    let both = json!({"amount": [{"amount": 1234.5, "currency": "EUR"}]});
    assert_eq!(text(&bot.turn(&question(both)).await), text(&amount));
    api.verify().await;
    answer(&api, rate("1.04"), 1).await;
    bot.clock().advance(TimeDelta::seconds(1));
    assert_eq!(say(&bot).await, "1 EUR is 1.04 USD, as of Sep 21, 2026.");
}

#[tokio::test]
async fn while_the_service_is_down_the_last_rate_is_told_as_old_for_a_day() {
    let api = MockServer::start().await;
    let bot = bot(&api).await;
    answer(&api, rate("1.0312"), 1).await;
    say(&bot).await;
    answer(&api, ResponseTemplate::new(500), 2).await;
    bot.clock().advance(TimeDelta::seconds(600));
    assert_eq!(
        say(&bot).await,
        "1 EUR is 1.0312 USD. That is an older rate, from Sep 21, 2026. I cannot get the current one right now."
    );
    bot.clock().advance(TimeDelta::hours(24));
    assert_eq!(
        say(&bot).await,
        "I cannot reach the information for that right now. Please try again in a moment."
    );
}

#[tokio::test]
async fn service_that_hangs_does_not_keep_the_old_rate_back() {
    let api = MockServer::start().await;
    let url = format!("{}/v1", api.uri()).parse().unwrap();
    let bot = start_with(
        |settings| settings.rates_api_url = url,
        |test| test.turns.answer_margin_ms = 4_000,
    )
    .await;
    answer(&api, rate("1.0312"), 1).await;
    say(&bot).await;
    answer(&api, rate("2").set_delay(Duration::from_secs(30)), 1).await;
    bot.clock().advance(TimeDelta::seconds(600));
    let said = say(&bot).await;
    assert!(said.contains("That is an older rate, from Sep 21, 2026"), "{said}");
}

#[tokio::test]
async fn currency_that_the_service_does_not_have_is_no_failure() {
    let api = MockServer::start().await;
    let bot = bot(&api).await;
    // More than it takes for the breaker to open, were they failures.
    answer(&api, ResponseTemplate::new(404), 1..).await;
    for last in 'A'..='Z' {
        let turn = ask(
            "Exchange Rate",
            json!({"from_currency": "EUR", "to_currency": format!("XQ{last}")}),
        );
        let said = text(&bot.turn(&turn).await);
        assert_eq!(said, format!("I have no exchange rate from EUR to XQ{last}."));
    }
}

#[tokio::test]
async fn amount_too_large_to_convert_is_said_to_be() {
    let api = MockServer::start().await;
    let bot = bot(&api).await;
    answer(&api, rate("1000"), 1).await;
    let said = bot
        .turn(&question(json!({"amount": "79228162514264337593543950335"})))
        .await;
    assert_eq!(text(&said), "That is more money than I can convert.");
}
