//! Parameters are read as what they mean, in whatever shape an agent sends them.

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Fail, Params, Reply};
use rstest::rstest;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stage::{ES_SESSIONS, es_turn};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "shown by Debug")]
struct Person {
    name: String,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "shown by Debug")]
struct Query {
    order: Option<String>,
    count: Option<u8>,
    size: Option<Size>,
    person: Option<Person>,
    amount: Option<Decimal>,
    flag: Option<bool>,
    #[serde(default)]
    list: Vec<i64>,
    any: Option<Value>,
}

async fn shows(Params(query): Params<Query>) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("{query:?}")))
}

/// What a handler is given, without what it is not.
async fn read(parameters: Value) -> String {
    let bot = TestBot::start(Bot::new().fallback(shows)).await;
    let mut turn = es_turn(ES_SESSIONS[0]);
    turn["queryResult"]["parameters"] = parameters;
    let reply = bot.turn(&turn).await;
    let said = reply["fulfillmentText"].as_str().unwrap().to_owned();
    let filled = said.strip_prefix("Query { ").and_then(|said| said.strip_suffix(" }"));
    match filled {
        Some(fields) => fields.replace(", list: []", ""),
        None => said,
    }
}

fn only(field: &str, value: &str) -> String {
    let fields = ["order", "count", "size", "person", "amount", "flag", "any"];
    let shown = fields.map(|name| match name == field {
        true => format!("{name}: Some({value})"),
        false => format!("{name}: None"),
    });
    shown.join(", ")
}

#[rstest]
#[case("order", json!(["10042"]), r#""10042""#)]
#[case("order", json!([10042.0]), r#""10042""#)]
#[case("count", json!([7]), "7")]
#[case("count", json!([["7"]]), "7")]
#[case("size", json!(["Large"]), "Large")]
#[case("person", json!([{"name": "Zed"}]), r#"Person { name: "Zed" }"#)]
#[case("person", json!({"name": [" Zed"]}), r#"Person { name: "Zed" }"#)]
#[case("amount", json!([12.5]), "12.5")]
#[case("flag", json!([true]), "true")]
#[tokio::test]
async fn list_of_one_is_its_value(#[case] field: &str, #[case] value: Value, #[case] shown: &str) {
    assert_eq!(read(json!({field: value})).await, only(field, shown));
}

#[rstest]
#[case("amount", json!({"amount": 100, "currency": "EUR"}), "100")]
#[case("amount", json!([{"amount": "99.95", "currency": "EUR"}]), "99.95")]
#[case("order", json!({"amount": 100.0, "currency": "EUR"}), r#""100""#)]
#[tokio::test]
async fn sum_of_money_is_its_amount(#[case] field: &str, #[case] value: Value, #[case] shown: &str) {
    assert_eq!(read(json!({field: value})).await, only(field, shown));
}

#[rstest]
#[case("order", json!(" 12345 "), r#""12345""#)]
#[case("size", json!("\tsmall\n"), "Small")]
#[case("amount", json!(" 12.50 "), "12.50")]
#[tokio::test]
async fn blanks_around_a_text_are_dropped(#[case] field: &str, #[case] value: Value, #[case] shown: &str) {
    assert_eq!(read(json!({field: value})).await, only(field, shown));
}

#[rstest]
#[case("order")]
#[case("size")]
#[case("person")]
#[case("amount")]
#[tokio::test]
async fn empty_list_and_blank_text_are_unfilled(#[case] field: &str) {
    for unfilled in [json!([]), json!([""]), json!("  ")] {
        assert_eq!(read(json!({field: unfilled})).await, only("", ""), "{unfilled}");
    }
}

#[tokio::test]
async fn value_that_its_type_takes_stays_as_it_is() {
    assert_eq!(
        read(json!({"any": [{"amount": 1, "currency": "EUR"}]})).await,
        only(
            "any",
            r#"Array [Object {"amount": Number(1), "currency": String("EUR")}]"#
        )
    );
    assert!(read(json!({"list": [[1], "2"]})).await.contains("list: [1, 2]"));
}

#[rstest]
#[case(json!({"order": ["1", "2"]}), "order")]
#[case(json!({"amount": {"amount": 10, "unit": "min"}}), "amount")]
#[case(json!({"size": {"huge": 1}}), "size")]
#[case(json!({"count": [300]}), "count")]
#[case(json!({"list": (0..40).map(|n| json!([n])).collect::<Vec<_>>()}), "list")]
#[tokio::test]
async fn value_that_means_no_single_one_is_asked_for(#[case] parameters: Value, #[case] field: &str) {
    assert_eq!(read(parameters).await, format!("What is the {field}?"));
}
