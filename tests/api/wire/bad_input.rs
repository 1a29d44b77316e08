//! What is no turn is refused with the place and the reason, as JSON; never with a 5xx, never with silence.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::stage::{CX_SESSIONS, ES_SESSIONS, Stage, cx_turn, es_turn};

const MIB: usize = 1024 * 1024;

async fn post(stage: &Stage, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
    let mut request = stage.bot.http().post(stage.bot.url("/fulfillment")).body(body);
    if headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[rstest]
#[case::empty(b"", 1, 0)]
#[case::cut_short(b"{\"queryResult\": {", 1, 17)]
#[case::second_line(b"{\n  \"session\": x}", 2, 14)]
#[case::not_json(b"hello", 1, 1)]
#[case::bad_utf8(b"{\"a\": \"\xff\"}", 1, 8)]
#[case::overlong_utf8(b"{\"a\": \"\xc0\x80\"}", 1, 8)]
#[case::lone_surrogate(br#"{"a": "\ud800"}"#, 1, 14)]
#[case::bare_control(b"{\"a\": \"\x01\"}", 1, 8)]
#[case::two_values(b"{} {}", 1, 4)]
#[case::nan(b"{\"a\": NaN}", 1, 7)]
#[case::huge_number(b"{\"a\": 1e999}", 1, 11)]
#[case::utf16(b"\xff\xfe{\0}\0", 1, 1)]
#[tokio::test]
async fn what_is_not_json_is_400_with_line_and_column(
    #[case] body: &'static [u8],
    #[case] line: u64,
    #[case] column: u64,
) {
    let stage = Stage::start().await;
    let (status, refusal) = stage.bot.post(body).await;
    let error = &refusal["error"];
    assert_eq!((status, &error["code"]), (400, &json!("not_json")));
    assert_eq!(
        (&error["line"], &error["column"]),
        (&json!(line), &json!(column)),
        "{refusal}"
    );
    assert!(error["message"].as_str().is_some_and(|reason| reason.len() > 10));
}

#[tokio::test]
async fn keys_given_twice_are_refused_when_they_disagree() {
    let stage = Stage::start().await;
    let turn = es_turn(ES_SESSIONS[0]).to_string();
    let (status, refusal) = stage.bot.post(turn.replacen('{', r#"{"session": "another","#, 1)).await;
    assert_eq!((status, &refusal["error"]["code"]), (400, &json!("not_json")));
    assert!(
        refusal["error"]["message"]
            .as_str()
            .unwrap()
            .contains("\"session\" is given twice"),
        "{refusal}"
    );
    let same = format!("{{\"session\": {:?},", ES_SESSIONS[0]);
    assert_eq!(stage.bot.post(turn.replacen('{', &same, 1)).await.0, 200);
}

#[rstest]
#[case(json!([]), "(root)")]
#[case(json!("turn"), "(root)")]
#[case(json!(null), "(root)")]
#[case(json!({}), "(root)")]
#[case(json!({"hello": 1}), "(root)")]
#[case(json!({"session": ES_SESSIONS[0]}), "queryResult")]
#[case(json!({"queryResult": {}}), "session")]
#[case(json!({"queryResult": {}, "session": ""}), "session")]
#[case(json!({"queryResult": {}, "session": null}), "session")]
#[case(json!({"queryResult": {}, "session": "the session"}), "session")]
#[case(json!({"queryResult": {}, "session": 7}), "session")]
#[case(json!({"queryResult": "x", "session": ES_SESSIONS[0]}), "queryResult")]
#[case(json!({"fulfillmentInfo": {"tag": "x"}}), "sessionInfo.session")]
#[case(json!({"fulfillmentInfo": {"tag": "x"}, "sessionInfo": {"session": "s"}}), "sessionInfo.session")]
#[tokio::test]
async fn what_is_not_a_turn_is_400_naming_the_field(#[case] body: Value, #[case] field: &str) {
    let stage = Stage::start().await;
    let (status, refusal) = stage.bot.post(body.to_string()).await;
    assert_eq!((status, &refusal["error"]["code"]), (400, &json!("not_a_turn")));
    assert_eq!(refusal["error"]["field"], field, "{refusal}");
}

#[tokio::test]
async fn field_of_the_wrong_kind_is_named_in_full() {
    let stage = Stage::start().await;
    let es = |path: &str, value: Value| set(es_turn(ES_SESSIONS[0]), path, value);
    let cx = |path: &str, value: Value| set(cx_turn(CX_SESSIONS[0]), path, value);
    let wrong = [
        (
            es("/queryResult/intent/displayName", json!(7)),
            "queryResult.intent.displayName",
        ),
        (es("/queryResult/parameters", json!([1])), "queryResult.parameters"),
        (
            es(
                "/queryResult/outputContexts",
                json!([{}, {"lifespanCount": "five", "name": "a/contexts/b"}]),
            ),
            "queryResult.outputContexts[1].lifespanCount",
        ),
        (
            es("/queryResult/outputContexts", json!([{}, 5])),
            "queryResult.outputContexts[1]",
        ),
        (
            es("/queryResult/allRequiredParamsPresent", json!("yes")),
            "queryResult.allRequiredParamsPresent",
        ),
        (
            es("/originalDetectIntentRequest", json!({"payload": 5})),
            "originalDetectIntentRequest.payload",
        ),
        (cx("/fulfillmentInfo/tag", json!({})), "fulfillmentInfo.tag"),
        (
            cx("/pageInfo/formInfo", json!({"parameterInfo": [{"required": 1}]})),
            "pageInfo.formInfo.parameterInfo[0].required",
        ),
    ];
    for (body, field) in wrong {
        let (status, refusal) = stage.bot.post(body.to_string()).await;
        assert_eq!((status, &refusal["error"]["field"]), (400, &json!(field)), "{refusal}");
    }
}

fn set(mut turn: Value, path: &str, value: Value) -> Value {
    let (parent, field) = path.rsplit_once('/').unwrap();
    turn.pointer_mut(parent).unwrap()[field] = value;
    turn
}

#[tokio::test]
async fn nesting_is_read_to_128_levels_and_refused_past_it() {
    let stage = Stage::start().await;
    let nested = |levels: usize| {
        let inner = format!("{}{}", "[".repeat(levels - 3), "]".repeat(levels - 3));
        es_turn(ES_SESSIONS[0])
            .to_string()
            .replace(r#""parameters":{}"#, &format!(r#""parameters":{{"x":{inner}}}"#))
    };
    let (turn, raw) = stage.sees(nested(128)).await;
    assert_eq!(raw["queryResult"]["parameters"]["x"], turn.parameters["x"]);
    for levels in [129, 10_000, 500_000] {
        let (status, refusal) = stage.bot.post(nested(levels)).await;
        assert_eq!(
            (status, &refusal["error"]["code"]),
            (400, &json!("not_json")),
            "{levels}"
        );
        assert!(
            refusal["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("the body is not JSON: nesting past 128")
        );
    }
}

#[tokio::test]
async fn body_over_1_mib_is_413() {
    let stage = Stage::start().await;
    let padded = |bytes: usize| {
        let turn = es_turn(ES_SESSIONS[0]).to_string();
        let pad = " ".repeat(bytes - turn.len());
        turn + &pad
    };
    assert_eq!(post(&stage, &[], padded(MIB)).await.0, 200);
    let (status, refusal) = post(&stage, &[], padded(MIB + 1)).await;
    assert_eq!(
        (status, &refusal["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large"))
    );
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let stage = Stage::start().await;
    let turn = es_turn(ES_SESSIONS[0]).to_string();
    for (encoding, body) in compressed(turn.as_bytes()) {
        let (status, reply) = post(&stage, &[("content-encoding", encoding)], body.clone()).await;
        assert_eq!(
            (status.as_u16(), &reply["fulfillmentText"]),
            (200, &json!("hello")),
            "{encoding}"
        );
        let (status, refusal) = post(
            &stage,
            &[("content-encoding", encoding)],
            body[..body.len() / 2].to_vec(),
        )
        .await;
        assert_eq!(
            (status.as_u16(), &refusal["error"]["code"]),
            (400, &json!("bad_encoding")),
            "{encoding}"
        );
    }
    let (status, refusal) = post(&stage, &[("content-encoding", "br")], turn).await;
    assert_eq!(
        (status.as_u16(), &refusal["error"]["code"]),
        (415, &json!("unsupported_media"))
    );
}

#[tokio::test]
async fn compressed_body_is_bounded_after_inflation() {
    let stage = Stage::start().await;
    for (encoding, bomb) in compressed(&vec![b' '; 64 * MIB]) {
        assert!(bomb.len() < MIB);
        let headers = [("content-encoding", encoding)];
        let answered = tokio::time::timeout(Duration::from_secs(5), post(&stage, &headers, bomb)).await;
        let (status, refusal) = answered.unwrap();
        assert_eq!(
            (status.as_u16(), &refusal["error"]["code"]),
            (413, &json!("too_large")),
            "{encoding}"
        );
    }
}

fn compressed(body: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(body).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(body).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
    bare.write_all(body).unwrap();
    [
        ("gzip", gzip.clone()),
        ("X-GZIP", gzip),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
    ]
}

#[rstest]
#[case("application/json", 200)]
#[case("application/json; charset=UTF-8", 200)]
#[case("Application/JSON;charset=\"utf-8\"", 200)]
#[case("application/cloudevents+json", 200)]
#[case("application/json; charset=utf-16", 415)]
#[case("text/plain", 415)]
#[case("application/x-www-form-urlencoded", 415)]
#[tokio::test]
async fn other_content_type_is_415(#[case] media: &str, #[case] expected: u16) {
    let stage = Stage::start().await;
    let (status, reply) = post(&stage, &[("content-type", media)], es_turn(ES_SESSIONS[0]).to_string()).await;
    assert_eq!(status, expected, "{reply}");
    if expected == 415 {
        assert_eq!(reply["error"]["code"], "unsupported_media");
    }
}

#[tokio::test]
async fn other_method_is_405_naming_the_right_one() {
    let stage = Stage::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = stage.bot.http().request(method.clone(), stage.bot.url("/fulfillment"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST");
        let refusal: Value = response.json().await.unwrap();
        assert_eq!(refusal["error"]["code"], "method_not_allowed");
    }
}
