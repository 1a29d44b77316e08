//! What is redacted, and that it stays so.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::session::SessionName;

const SESSION: &str = "projects/shop/agent/sessions/4be2a6f1-aa11";

fn request(said: &str, parameters: &Value) -> Value {
    json!({
        "responseId": "ea3d77e8-ae27-41a4-9e1d-174bd461b68c",
        "session": SESSION,
        "queryResult": {
            "queryText": said,
            "intent": {"name": "projects/shop/agent/intents/0f1e2d3c-0000-4000-8000-00000000abcd", "displayName": "Change Name"},
            "parameters": parameters,
            "outputContexts": [{"name": format!("{SESSION}/contexts/person"), "lifespanCount": 5, "parameters": parameters}],
        },
    })
}

fn redacted(said: &str, parameters: Value, reply: Value) -> (Value, Value) {
    let (mut request, mut reply) = (request(said, &parameters), reply);
    Redactor::default().redact(&mut request, &mut reply);
    (request, reply)
}

#[test]
fn one_value_has_one_stand_in_in_request_and_reply() {
    let (request, reply) = redacted(
        "i'm anna lindqvist, pin 4711, write to anna@lindqvist.se",
        json!({"given-name": "Anna", "last-name": "Lindqvist", "pin": 4711, "pin.original": "4711", "quantity": 2}),
        json!({"fulfillmentText": "Thank you, Anna!", "outputContexts": [{"name": format!("{SESSION}/contexts/person")}]}),
    );
    let parameters = &request["queryResult"]["parameters"];
    let (first, last) = (
        parameters["given-name"].as_str().unwrap(),
        parameters["last-name"].as_str().unwrap(),
    );
    let pin = parameters["pin"].as_i64().unwrap();
    assert_eq!(
        request["queryResult"]["queryText"],
        format!("i'm {first} {last}, pin {pin}, write to person1@example.com")
    );
    assert_eq!(reply["fulfillmentText"], format!("Thank you, {first}!"));
    assert_eq!(parameters["pin.original"], pin.to_string());
    assert_eq!(parameters["quantity"], 2);
    let context = &request["queryResult"]["outputContexts"][0];
    assert_eq!(context["parameters"], *parameters);
    assert_eq!(context["lifespanCount"], 5);
    assert_eq!(context["name"], reply["outputContexts"][0]["name"]);
}

#[test]
fn frame_of_the_platform_keeps_its_shape() {
    let (request, _) = redacted("hello", json!({"name": "Change"}), json!({}));
    assert_eq!(
        request["queryResult"]["intent"],
        self::request("", &json!({}))["queryResult"]["intent"]
    );
    let session = request["session"].as_str().unwrap();
    assert_eq!(SessionName::parse(session).unwrap().id(), "session-1");
    assert_eq!(request["responseId"], "00000000-0000-4000-8000-000000000001");
}

#[test]
fn user_of_the_platform_is_redacted_and_the_rest_of_its_payload_stays() {
    let mut request = json!({"originalDetectIntentRequest": {"source": "telegram", "payload": {"data": {
        "from": {"id": 99_887_766, "first_name": "Anna", "language_code": "en"},
        "caller_id": "+46701234567", "date": 1_700_000_000, "userId": "ABwppHG1",
        "surface": {"capabilities": [{"name": "actions.capability.SCREEN_OUTPUT"}]},
    }}}});
    let mut reply = json!({});
    Redactor::default().redact(&mut request, &mut reply);
    let data = &request["originalDetectIntentRequest"]["payload"]["data"];
    let text = data.to_string();
    for secret in ["99887766", "Anna", "46701234567", "ABwppHG1"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(data["from"]["language_code"], "en");
    assert_eq!(
        data["surface"]["capabilities"][0]["name"],
        "actions.capability.SCREEN_OUTPUT"
    );
    assert_eq!(data["date"], 1_700_000_000);
    assert!(data["from"]["id"].is_i64());
}

#[test]
fn form_parameter_of_cx_is_redacted_by_its_name() {
    let mut request = json!({
        "detectIntentResponseId": "r-1",
        "pageInfo": {"formInfo": {"parameterInfo": [
            {"displayName": "phone_number", "value": "0170 998877"}, {"displayName": "size", "value": "large"},
        ]}},
        "sessionInfo": {"session": "projects/p/locations/eu/agents/a/environments/e/sessions/s-77", "parameters": {"phone_number": "0170 998877"}},
    });
    Redactor::default().redact(&mut request, &mut json!({}));
    let form = &request["pageInfo"]["formInfo"]["parameterInfo"];
    assert_eq!(form[0]["displayName"], "phone_number");
    assert_eq!(form[0]["value"], request["sessionInfo"]["parameters"]["phone_number"]);
    assert_ne!(form[0]["value"], "0170 998877");
    assert_eq!(form[1]["value"], "large");
    assert_eq!(request["detectIntentResponseId"], "response-1");
    let session = request["sessionInfo"]["session"].as_str().unwrap();
    assert_eq!(
        session,
        "projects/p/locations/eu/agents/a/environments/e/sessions/session-1"
    );
}

#[rstest]
#[case("anna.l+shop@mail.example.org")]
#[case("+46 70 123 45 67")]
#[case("+491701234567")]
#[case("(555) 123-4567")]
#[case("0046 70 1234567")]
#[case("4111 1111 1111 1111")]
#[case("378282246310005")]
#[case("203.0.113.77")]
#[case("fe80::1ff:fe23:4567:890a")]
#[case("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
#[case("sk_live_51H8abcdefgh")]
#[case("d131dd02c5e6eec4693d9a0698aff95c")]
fn personal_text_is_found_by_its_form(#[case] secret: &str) {
    let (request, reply) = redacted(
        &format!("it is {secret}, ok"),
        json!({}),
        json!({"fulfillmentText": format!("“{secret}.”"), secret: 1}),
    );
    let said = request["queryResult"]["queryText"].as_str().unwrap();
    assert!(
        said.starts_with("it is ") && said.ends_with(", ok") && !said.contains(secret),
        "{said}"
    );
    let stand_in = said.strip_prefix("it is ").unwrap().strip_suffix(", ok").unwrap();
    assert_eq!(reply["fulfillmentText"], format!("“{stand_in}.”"));
}

#[rstest]
#[case("order 1002 on 2025-06-24T12:34:56Z for $3,247.82")]
#[case("from 2025-06-24 12:34 to 14:30, room 12")]
#[case("version 1.2.3, see https://shop.example/a/b?c=1")]
#[case("projects/shop/agent/intents/0f1e2d3c-0000-4000-8000-00000000abcd")]
fn other_text_stays(#[case] text: &str) {
    let (request, _) = redacted(text, json!({"order_id": "1002"}), json!({}));
    assert_eq!(request["queryResult"]["queryText"], text);
    assert_eq!(request["queryResult"]["parameters"]["order_id"], "1002");
}

#[rstest]
#[case("date_of_birth", json!("1980-02-29"))]
#[case("dateOfBirth", json!("1980-02-29"))]
#[case("passport", json!("C01X00T47"))]
#[case("passport_number", json!("C01X00T47"))]
#[case("user_id", json!("12345"))]
#[case("customer_id", json!(12345))]
#[case("customerNumber", json!(12345.0))]
#[case("patient-no", json!("P-77"))]
#[case("national_id", json!("840-12-77"))]
#[case("driving_licence", json!("MORGA657054SM9IJ"))]
fn what_somebody_is_known_by_is_redacted(#[case] key: &str, #[case] value: Value) {
    let said = canonical(&value).unwrap();
    let (request, reply) = redacted(
        &format!("it is {said}"),
        json!({key: value, "quantity": 2}),
        json!({"fulfillmentText": format!("You are {said}.")}),
    );
    assert!(!format!("{request}{reply}").contains(&said), "{request} {reply}");
    assert_eq!(request["queryResult"]["parameters"]["quantity"], 2);
}

#[rstest]
#[case("user", json!("anything"))]
#[case("customer_type", json!("gold"))]
#[case("order_number", json!("10042"))]
fn other_parameters_stay(#[case] key: &str, #[case] value: Value) {
    let (request, _) = redacted("hello", json!({key: value.clone()}), json!({}));
    assert_eq!(request["queryResult"]["parameters"][key], value);
}

#[test]
fn stand_in_of_a_card_is_a_card() {
    let (request, _) = redacted("4111 1111 1111 1111", json!({}), json!({}));
    let said = request["queryResult"]["queryText"].as_str().unwrap();
    assert_eq!(text::kind(said), Some(Kind::Card), "{said}");
    assert_eq!(said.len(), 19);
}

#[test]
fn names_are_found_in_scripts_without_spaces() {
    let (request, _) = redacted("我叫王伟", json!({"person": {"name": "王伟"}}), json!({}));
    let said = request["queryResult"]["queryText"].as_str().unwrap();
    assert!(said.starts_with("我叫") && !said.contains("王伟"), "{said}");
}

#[test]
fn long_token_leaves_no_end_behind() {
    let token = format!("eyJhbGciOi.{}", "aB3dE6-_".repeat(4_000));
    let (request, _) = redacted(&format!("token={token}"), json!({}), json!({}));
    assert!(!request.to_string().contains("aB3dE6"));
}

proptest! {
    #[test]
    fn no_secret_is_left_and_the_same_value_has_the_same_stand_in(
        name in "[A-W][a-w]{4,9}",
        pin in "[2-9]{4,8}",
        password in "[A-Za-z0-9!?]{8,20}[2-9]{3}",
        email in "[a-w]{3,8}@[a-w]{3,8}\\.org",
        phone in "\\+[2-9]{8,14}",
    ) {
        let parameters = json!({"name": name, "pin": pin, "password": password, "email": email, "phone": phone});
        let said = format!("{name} {pin} {email} {phone} {password}");
        let reply = json!({"fulfillmentText": said, "payload": {"text": [said]}});
        let mut redactor = Redactor::default();
        let mut turns = Vec::new();
        for _ in 0..2 {
            let (mut request, mut reply) = (request(&said, &parameters), reply.clone());
            redactor.redact(&mut request, &mut reply);
            turns.push((request, reply));
        }
        let all = format!("{} {}", turns[0].0, turns[0].1);
        for secret in [&name, &pin, &password, &email, &phone] {
            prop_assert!(!all.contains(secret.as_str()), "{} in {}", secret, all);
        }
        prop_assert_eq!(&turns[0], &turns[1]);
        prop_assert_eq!(&turns[0].1["fulfillmentText"], &turns[0].0["queryResult"]["queryText"]);
    }

    #[test]
    fn any_text_is_read(said in "\\PC{0,60}", value in "[0-9 +.:@a-fİß-]{0,40}") {
        let (request, _) = redacted(&said, json!({"name": value, "note": value}), json!({"fulfillmentText": value}));
        prop_assert!(request["queryResult"]["queryText"].is_string());
    }
}
