//! Tests of the catalogue.

use std::fs;

use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A catalogue's directory with these files.
fn files(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn catalogue(of: &[(&str, &str)]) -> Catalogue {
    Catalogue::load(files(of).path()).unwrap()
}

/// Each error as `file:line:column: message`, without the directory.
fn errors(of: &[(&str, &str)]) -> Vec<String> {
    let dir = files(of);
    let errors = Catalogue::load(dir.path()).unwrap_err();
    let prefix = format!("{}/", dir.path().display());
    errors
        .iter()
        .map(|error| error.to_string().replace(&prefix, ""))
        .collect()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn shipped() -> Catalogue {
    catalogue(&[
        (
            "order.shipped/1.json",
            r#"{"type": "object", "required": ["tracking"], "properties": {"tracking": {"type": "string"}}}"#,
        ),
        (
            "order.shipped/2.json",
            r#"{"type": "object", "required": ["tracking_number"],
                "properties": {"tracking_number": {"type": "string", "minLength": 3}}}"#,
        ),
        (
            "order.shipped/2.upcast.jinja",
            r#"{"tracking_number": {{ payload.tracking }}}"#,
        ),
    ])
}

#[test]
fn every_error_of_every_file_has_its_place() {
    let errors = errors(&[
        ("a/1.json", "{\n  \"type\": object\n}"),
        ("b/1.json", "{\n  \"properties\": {\n    \"x\": {\"type\": 5}\n  }\n}"),
        ("b/2.json", "{\"type\": \"objekt\"}"),
        ("b/2.upcast.jinja", "{{ payload }}"),
        ("c/1.json", "{\"$ref\": \"https://example.com/schema.json\"}"),
        ("d/0.json", "{}"),
        ("d/one.json", "{}"),
        ("d/notes.txt", ""),
        ("e/2.json", "{}"),
        ("e/2.upcast.jinja", "{}"),
        ("f/1.json", "{\"properties\": {\"old\": {}}}"),
        ("f/2.json", "{}"),
        ("f/2.upcast.jinja", "{\n  \"new\": {{ payload.odl }}\n}"),
        ("g/1.json", "{}"),
        ("g/2.json", "{}"),
        ("g/2.upcast.jinja", "{\n  \"new\": {{ payload. }}\n}"),
        ("h h/1.json", "{}"),
        ("i/1.json", "{\"pattern\": \"(?=a)b\"}"),
    ]);
    let begins = [
        "a/1.json:2:11: expected value",
        "b/1.json:3:19: in the schema at \"/properties/x/type\": found 5, which type does not take",
        "b/2.json:1:10: in the schema at \"/type\": found \"objekt\", expected one of array, boolean",
        "c/1.json:1:",
        "d/0.json: expected <version>.json",
        "d/notes.txt: expected <version>.json",
        "d/one.json: expected <version>.json",
        "e/2.upcast.jinja: found an upcaster, expected the schema of the version before",
        "f/2.upcast.jinja:2:13: found payload.odl, which the version before does not have",
        "g/2.upcast.jinja:2:22: syntax error",
        "h h: found the type \"h h\", expected lower-case words",
        "i/1.json:1:",
    ];
    assert_eq!(errors.len(), begins.len(), "{errors:#?}");
    for (error, begin) in errors.iter().zip(begins) {
        assert!(error.starts_with(begin), "{error} does not start with {begin}");
    }
}

#[test]
fn violations_point_into_the_envelope() {
    let catalogue = shipped();
    let pointers = |event_type, version, payload: &str| -> Vec<String> {
        let violations = catalogue.check(event_type, version, &raw(payload)).unwrap_err();
        violations.into_iter().map(|violation| violation.pointer).collect()
    };
    assert_eq!(
        catalogue.check("order.shipped", 2, &raw(r#"{"tracking_number":"1234"}"#)),
        Ok(())
    );
    assert_eq!(pointers("order.shiped", 1, "{}"), ["/event_type"]);
    assert_eq!(pointers("order.shipped", 3, "{}"), ["/schema_version"]);
    assert_eq!(pointers("order.shipped", 2, "{}"), ["/payload"]);
    assert_eq!(
        pointers("order.shipped", 2, r#"{"tracking_number":1}"#),
        ["/payload/tracking_number"]
    );
}

#[test]
fn violation_tells_the_kind_and_never_the_value() {
    let catalogue = shipped();
    let violations = catalogue
        .check("order.shipped", 2, &raw(r#"{"tracking_number":4111111111111111}"#))
        .unwrap_err();
    assert_eq!(violations[0].message, "a number is not of type \"string\"");
}

#[test]
fn violations_are_few_and_short() {
    let catalogue = catalogue(&[(
        "a/1.json",
        r#"{"items": {"type": "string"}, "properties": {}, "additionalProperties": false}"#,
    )]);
    let many = format!("[{}]", vec!["1"; 1000].join(","));
    assert_eq!(catalogue.check("a", 1, &raw(&many)).unwrap_err().len(), 20);
    let long = json!({"x".repeat(5000): 1}).to_string();
    assert!(catalogue.check("a", 1, &raw(&long)).unwrap_err()[0].message.len() < 300);
}

#[rstest]
#[case("{}", "[[1]]", true)]
#[case(r#"{"type": "object"}"#, r#"{"a": {}}"#, true)]
#[case(r#"{"type": "object"}"#, "[1]", false)]
#[case(r#"{"type": "object"}"#, "\"{\"", false)]
fn schema_that_takes_nearly_anything_is_checked_too(#[case] schema: &str, #[case] payload: &str, #[case] valid: bool) {
    let catalogue = catalogue(&[("a/1.json", schema)]);
    assert_eq!(catalogue.check("a", 1, &raw(payload)).is_ok(), valid);
}

#[test]
fn longest_family_stands_for_types_without_a_schema() {
    let catalogue = catalogue(&[
        ("shop.*/1.json", "{}"),
        ("shop.order.*/2.json", "{}"),
        ("shop.order.paid/3.json", "{}"),
    ]);
    assert_eq!(catalogue.latest("shop.cart"), Some(1));
    assert_eq!(catalogue.latest("shop.order.sent"), Some(2));
    assert_eq!(catalogue.latest("shop.order.paid"), Some(3));
    assert_eq!(catalogue.latest("other"), None);
    let matching = |pattern: &str| catalogue.matching(&Pattern::parse(pattern).unwrap());
    assert_eq!(matching("shop.order.*"), ["shop.order.paid", "shop.*", "shop.order.*"]);
    assert_eq!(matching("shop.x"), ["shop.x"]);
    assert!(matching("other.*").is_empty());
}

#[test]
fn old_version_is_brought_up_whatever_it_holds() {
    let payload = json!({"tracking": "\"}, {{ x }} \\ ü</script>"});
    let (version, upcast) = shipped().upcast("order.shipped", 1, payload).unwrap();
    assert_eq!(version, 2);
    assert_eq!(upcast, json!({"tracking_number": "\"}, {{ x }} \\ ü</script>"}));
    let newest = json!({"anything": 1});
    assert_eq!(shipped().upcast("order.shipped", 2, newest.clone()), Ok((2, newest)));
}

#[test]
fn upcast_that_fails_says_why() {
    let problem = |version, payload| {
        shipped()
            .upcast("order.shipped", version, payload)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        problem(1, json!({})),
        "upcaster of order.shipped to version 2: `payload.tracking` is undefined"
    );
    assert_eq!(
        problem(1, json!({"tracking": "1"})),
        "upcast order.shipped does not satisfy version 2: /payload/tracking_number: a string is shorter than 3 characters"
    );
    assert!(matches!(
        shipped().upcast("order.shipped", 7, json!({})),
        Err(UpcastError::NoWay { wanted: 7, .. })
    ));
    let gap = catalogue(&[("a/1.json", "{}"), ("a/3.json", "{}")]);
    assert!(matches!(
        gap.upcast("a", 1, json!({})),
        Err(UpcastError::NoWay { wanted: 2, .. })
    ));
}

#[rstest]
#[case("a", true)]
#[case("a.b", true)]
#[case("a.c", false)]
#[case("b", false)]
#[case("open.any.thing", true)]
#[case("text.length", false)]
#[case("lines._0.sku", true)]
#[case("lines._0.sk", false)]
#[case("from_ref.x", true)]
#[case("from_ref.y", false)]
#[case("in_all_of", true)]
#[case("in_any_of", true)]
#[case("map.anything.x", true)]
#[case("map.anything.y", false)]
#[case("loop.loop.loop.x", true)]
#[case("loop.loop.loop.y", false)]
fn path_is_known_where_a_schema_lists_it(#[case] path: &str, #[case] known: bool) {
    let schema = r##"{
        "$defs": {
            "x": {"properties": {"x": {"type": "string"}}},
            "loop": {"properties": {"loop": {"$ref": "#/$defs/loop"}, "x": {}}}
        },
        "type": "object",
        "properties": {
            "a": {"properties": {"b": {}}},
            "open": {"properties": {"listed": {}}, "additionalProperties": true},
            "text": {"type": "string"},
            "lines": {"type": "array", "items": {"properties": {"sku": {}}}},
            "from_ref": {"$ref": "#/$defs/x"},
            "map": {"additionalProperties": {"$ref": "#/$defs/x"}},
            "loop": {"$ref": "#/$defs/loop"}
        },
        "allOf": [{"properties": {"in_all_of": {}}}],
        "anyOf": [{"properties": {"in_any_of": {}}}, {"properties": {"else": {}}}]
    }"##;
    let catalogue = catalogue(&[("a/1.json", schema), ("any/1.json", "{\"type\":\"object\"}")]);
    let path: Vec<&str> = std::iter::once("payload").chain(path.split('.')).collect();
    assert_eq!(catalogue.has_path("a", &path), known);
    assert!(catalogue.has_path("any", &path));
    assert!(!catalogue.has_path("a", &path[1..]));
}

#[test]
fn catalogue_is_published_with_a_tag_of_its_content() {
    let (one, other) = (shipped(), catalogue(&[("a/1.json", "{}")]));
    let body: Value = serde_json::from_str(&one.published().body).unwrap();
    assert_eq!(body["types"][0]["type"], "order.shipped");
    assert_eq!(body["types"][0]["versions"][1]["upcaster"], true);
    assert_eq!(body["types"][0]["versions"][0]["schema"]["required"][0], "tracking");
    assert_eq!(one.published().etag, shipped().published().etag);
    assert_ne!(one.published().etag, other.published().etag);
}
