//! What a recorded turn matches, how its file is read and written, and what is redacted.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn turn(text: &str) -> anyhow::Result<RecordedTurn> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("01_turn.json");
    fs::write(&file, text)?;
    RecordedTurn::read(&file)
}

fn came(body: Value) -> Came {
    Came { status: 200, body }
}

fn paths(turn: &RecordedTurn, body: Value) -> Vec<String> {
    let differences = turn.mismatch(&came(body)).map(|mismatch| mismatch.differences);
    let differences = differences.unwrap_or_default();
    differences.into_iter().map(|difference| difference.path).collect()
}

#[rstest]
#[case(r#"{"request": {}, "repl": {}}"#, "unknown field `repl`")]
#[case(r#"{"request": {}, "reply": {}, "reply_has": {}}"#, "found both reply and reply_has")]
#[case(r#"{"reply": {}}"#, "missing field `request`")]
#[case(r#"{"request": {}, "status": 7}"#, "status: found 7, expected 200 to 599")]
#[case("[", "EOF")]
fn file_that_is_no_recorded_turn_is_refused_by_name(#[case] text: &str, #[case] reason: &str) {
    let error = format!("{:#}", turn(text).unwrap_err());
    assert!(error.contains("01_turn.json is not a recorded turn"), "{error}");
    assert!(error.contains(reason), "{error}");
}

#[test]
fn exact_reply_differs_by_any_key() {
    let turn = turn(r#"{"request": {}, "reply": {"a": 7, "list": [{"b": 1}], "odd key": null}}"#).unwrap();
    assert!(paths(&turn, json!({"a": 7.0, "list": [{"b": 1}], "odd key": null})).is_empty());
    assert_eq!(
        paths(&turn, json!({"a": 8, "list": [{"b": 1, "c": 2}, 3], "d": 4})),
        [
            "reply.a",
            "reply.list[0].c",
            "reply.list[1]",
            "reply[\"odd key\"]",
            "reply.d"
        ]
    );
}

#[test]
fn parts_that_matter_leave_other_keys_alone_but_not_other_items() {
    let turn = turn(r#"{"request": {}, "reply_has": {"a": {"b": 1}, "list": [{"c": 2}]}}"#).unwrap();
    assert!(
        paths(
            &turn,
            json!({"a": {"b": 1, "x": 0}, "list": [{"c": 2, "y": 0}], "z": 0})
        )
        .is_empty()
    );
    assert_eq!(
        paths(&turn, json!({"a": {}, "list": [{"c": 2}, {"c": 2}]})),
        ["reply.a.b", "reply.list[1]"]
    );
}

#[test]
fn diff_leaves_out_what_does_not_matter() {
    let turn = turn(r#"{"request": {}, "reply_has": {"text": "old"}}"#).unwrap();
    let mismatch = turn.mismatch(&came(json!({"text": "new", "noise": 1}))).unwrap();
    assert_eq!(
        mismatch.diff,
        "--- expected\n+++ came\n@@ -1,3 +1,3 @@\n {\n-  \"text\": \"old\"\n+  \"text\": \"new\"\n }\n"
    );
    assert_eq!(
        mismatch.differences[0].to_string(),
        r#"reply.text: expected "old", came "new""#
    );
}

#[test]
fn status_is_200_unless_the_file_says_otherwise() {
    let turn = turn(r#"{"request": {}, "reply": {}}"#).unwrap();
    let refused = Came {
        status: 400,
        body: json!({}),
    };
    let mismatch = turn.mismatch(&refused).unwrap();
    assert_eq!(mismatch.differences[0].to_string(), "status: expected 200, came 400");
    let accepted = turn.accepting(&refused);
    assert!(accepted.mismatch(&refused).is_none());
    assert!(accepted.text().unwrap().contains(r#""status": 400"#));
}

#[test]
fn turn_with_no_reply_yet_never_matches_until_one_is_accepted() {
    let turn = turn(r#"{"request": {}}"#).unwrap();
    let answer = came(json!({}));
    assert!(turn.mismatch(&answer).unwrap().no_reply_yet);
    assert!(turn.accepting(&answer).mismatch(&answer).is_none());
    assert!(turn.may_accept(400));
    assert!(!turn.may_accept(401) && !turn.may_accept(503));
}

#[test]
fn accepting_keeps_the_request_byte_for_byte_and_only_the_keys_that_matter() {
    let text = "{\n  \"about\": \"…\",\n  \"request\": {\"z\": 1.0,   \"a\": [ ]},\n  \"reply_has\": {\n    \"n\": 7\n  }\n}\n";
    let turn = turn(text).unwrap();
    assert_eq!(
        turn.accepting(&came(json!({"n": 7.0, "more": 1}))).text().unwrap(),
        text
    );
    assert_eq!(
        turn.accepting(&came(json!({"n": 8, "more": 1}))).text().unwrap(),
        text.replace('7', "8")
    );
}

#[test]
fn files_are_played_in_the_order_of_their_names_below_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["02_b.json", "01_a.json", "notes.txt", "03_c/01_d.json"] {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, r#"{"request": {}}"#).unwrap();
    }
    let turns = RecordedTurn::read_all(&[dir.path()]).unwrap();
    let names: Vec<_> = turns
        .iter()
        .map(|turn| turn.file.strip_prefix(dir.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["01_a.json", "02_b.json", "03_c/01_d.json"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(RecordedTurn::read_all(&[empty.path()]).is_err());
}

fn json_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        (-3i64..3).prop_map(|n| Value::from(n as f64)),
        any::<f64>().prop_map(Value::from),
        "[a-c é]{0,3}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reply_matches_itself(reply in json_value()) {
        for extent in [Extent::Whole, Extent::Parts] {
            prop_assert_eq!(Mismatch::between(extent, &reply, &reply).differences, vec![]);
        }
    }

    #[test]
    fn accepted_reply_matches_what_came(expected in json_value(), reply in json_value()) {
        for extent in [Extent::Whole, Extent::Parts] {
            let accepted = difference::accepted(extent, &expected, &reply);
            prop_assert_eq!(Mismatch::between(extent, &accepted, &reply).differences, vec![]);
        }
    }

    #[test]
    fn exact_replies_match_only_when_equal_but_for_number_forms(one in json_value(), other in json_value()) {
        let floats = |value: &Value| value.to_string().replace(".0", "").replace("-0", "0");
        let matches = Mismatch::between(Extent::Whole, &one, &other).differences.is_empty();
        prop_assert_eq!(matches, floats(&one) == floats(&other));
    }

    #[test]
    fn accepted_turn_passes_after_it_is_written_and_read(expected in json_value(), reply in json_value()) {
        prop_assume!(!expected.is_null() && !reply.is_null());
        for key in ["reply", "reply_has"] {
            let turn = turn(&json!({"request": {"a": 1}, key: expected}).to_string()).unwrap();
            let answer = came(reply.clone());
            let again = self::turn(&turn.accepting(&answer).text().unwrap()).unwrap();
            prop_assert!(again.mismatch(&answer).is_none());
            prop_assert_eq!(again.body(), turn.body());
        }
    }
}
