//! What is made of a verified request.

use serde_json::json;

use super::*;
use crate::event::bad_envelope::BadEnvelope;
use crate::event::envelope::Envelope;

const JSON: (&str, &str) = ("content-type", "application/json");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn of(format: &str) -> Arc<Source> {
    let head = "secret.env = \"SECRET\"\nscheme.kind = \"bearer\"\nlimits.batch_items = 3\n";
    try_source(&format!("{head}{format}"), "s3cret").unwrap()
}

fn event(source: &Source, pairs: &[(&str, &str)], body: &str) -> Result<Envelope, BadEnvelope> {
    let mut items = events(source, pairs, body).unwrap();
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn own(more: serde_json::Value) -> String {
    let mut event = json!({"event_id": "e1", "event_type": "order.shipped", "timestamp": "2025-06-15T12:00:00Z",
        "entity_id": "10042", "schema_version": 1, "payload": {"n": 1}});
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    event.to_string()
}

#[test]
fn our_envelope_is_taken_as_it_is() {
    let source = of("format = \"envelope\"");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = r#"{"event_id": "e1", "event_type": "order.shipped", "timestamp": "2025-06-15T14:00:00+02:00", "ignored": [],
        "entity_id": 10042, "user_id": "u1", "schema_version": "2.0", "payload": {"price": 1.10, "b\u0061": 1}}"#;
    let event = event(&source, &[JSON, ("traceparent", parent)], body).unwrap();
    assert_eq!(
        (
            &*event.source,
            event.event_id.as_str(),
            event.event_type.as_str(),
            event.entity_id.as_str()
        ),
        ("shop", "e1", "order.shipped", "10042")
    );
    assert_eq!(event.timestamp.to_rfc3339(), "2025-06-15T12:00:00+00:00");
    assert_eq!((event.user_id.as_deref(), event.schema_version), (Some("u1"), 2));
    assert_eq!(event.payload.get(), r#"{"price": 1.10, "b\u0061": 1}"#);
    assert_eq!(event.traceparent.as_deref(), Some(parent));
}

#[test]
fn version_of_a_schema_is_read_however_it_is_written() {
    let source = of("format = \"envelope\"");
    for (written, version) in [
        (json!(1), Some(1)),
        (json!("1"), Some(1)),
        (json!("1.0"), Some(1)),
        (json!(1.0), Some(1)),
        (json!(12), Some(12)),
        (json!(0), None),
        (json!("1.5"), None),
        (json!(-1), None),
        (json!(3_000_000_000_u32), None),
        (json!("v1"), None),
    ] {
        let found = event(&source, &[JSON], &own(json!({ "schema_version": written })));
        assert_eq!(found.ok().map(|event| event.schema_version), version, "{written}");
    }
}

#[test]
fn missing_or_wrong_field_is_named() {
    let source = of("format = \"envelope\"");
    for (more, field) in [
        (json!({"event_id": null}), "event_id"),
        (json!({"event_id": ""}), "event_id"),
        (json!({"event_id": "a\u{0}b"}), "event_id"),
        (json!({"event_id": [1]}), "event_id"),
        (json!({"event_type": null}), "event_type"),
        (json!({"event_type": "Order Shipped"}), "event_type"),
        (json!({"event_type": "order..shipped"}), "event_type"),
        (json!({"entity_id": null}), "entity_id"),
        (json!({"entity_id": "x".repeat(257)}), "entity_id"),
        (json!({"entity_id": 1.5}), "entity_id"),
        (json!({"timestamp": null}), "timestamp"),
        (json!({"timestamp": "tomorrow"}), "timestamp"),
        (json!({"schema_version": null}), "schema_version"),
        (json!({"payload": null}), "payload"),
        (json!({"user_id": {}}), "user_id"),
    ] {
        let body = own(more);
        assert_eq!(event(&source, &[JSON], &body).unwrap_err().field, field, "{body}");
    }
}

#[test]
fn batches_are_arrays_or_lines_and_tell_item_by_item() {
    let source = of("format = \"envelope\"");
    let (good, bad) = (own(json!({})), own(json!({"event_id": null})));
    let found = |body: &str, kind: &str| {
        let items = events(&source, &[("content-type", kind)], body).unwrap();
        items.iter().map(Result::is_ok).collect::<Vec<_>>()
    };
    assert_eq!(
        found(&format!(" [{good}, {bad}, 5]"), "application/json"),
        [true, false, false]
    );
    assert_eq!(
        found(&format!("{good}\r\n\n{bad}\n"), "application/x-ndjson"),
        [true, false]
    );
    assert!(found("[]", "application/json").is_empty());

    let four = [good.as_str(); 4];
    let too_many = Err(NotEvents::TooMany { found: 4, limit: 3 });
    assert_eq!(
        events(&source, &[JSON], &format!("[{}]", four.join(","))).map(|_| ()),
        too_many
    );
    let ndjson = ("content-type", "application/x-ndjson");
    assert_eq!(events(&source, &[ndjson], &four.join("\n")).map(|_| ()), too_many);
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    let source = of("format = \"envelope\"");
    let place = |pairs: &[(&str, &str)], body: &str| match events(&source, pairs, body) {
        Err(NotEvents::Json { line, column, .. }) => (line, column),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(&[JSON], "{\"event_id\": \n tru}"), (2, 5));
    assert_eq!(place(&[JSON], "[{},\n]"), (2, 1));
    assert_eq!(place(&[JSON], ""), (1, 0));
    assert_eq!(place(&[("content-type", "application/x-ndjson")], "{}\n\n{]"), (3, 2));
    let form = events(&source, &[("content-type", "application/x-www-form-urlencoded")], "a=1");
    assert!(matches!(form, Err(NotEvents::ContentType { .. })));
}

#[test]
fn cloudevent_is_the_same_in_every_mode() {
    let source = of("format = \"cloudevents\"");
    let binary = event(
        &source,
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/shop"),
            ("ce-type", "com.example.Order.Shipped"),
            ("ce-time", "2025-06-15T12:00:00Z"),
            ("ce-subject", "order%20%E2%82%AC"),
            ("ce-dataschema", "https://example.com/order/2"),
            JSON,
        ],
        r#"{"price": 1.10}"#,
    )
    .unwrap();
    let text = r#"{"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.Order.Shipped", "subject": "order €",
        "time": "2025-06-15T12:00:00Z", "dataschema": "https://example.com/order/2", "data": {"price": 1.10}, "other": 5}"#;
    let structured = event(&source, &[STRUCTURED], text).unwrap();
    let batched = event(&source, &[BATCH], &format!("[{text}]")).unwrap();
    let written = |event: &Envelope| serde_json::to_string(event).unwrap();
    assert_eq!(written(&binary), written(&structured));
    assert_eq!(written(&binary), written(&batched));
    assert_eq!(
        written(&binary),
        r#"{"source":"shop","event_id":"/shop#1","event_type":"com.example.order.shipped","timestamp":"2025-06-15T12:00:00Z","entity_id":"order €","schema_version":2,"payload":{"price": 1.10}}"#
    );
}

#[test]
fn data_of_any_kind_becomes_json() {
    let source = of("format = \"cloudevents\"");
    let payload = |data: serde_json::Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
        event.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        let found = self::event(&source, &[STRUCTURED], &event.to_string());
        found
            .map(|event| event.payload.get().to_owned())
            .map_err(|bad| bad.field)
    };
    let binary = STANDARD.encode([0xff, 0xfe]);
    for (data, expected) in [
        (json!({}), Ok("null")),
        (json!({"data": "text"}), Ok("\"text\"")),
        (json!({"data": 1.5}), Ok("1.5")),
        (json!({"data_base64": "eyJhIjoxfQ=="}), Ok("{\"a\":1}")),
        (
            json!({"data_base64": "PGEvPg==", "datacontenttype": "text/xml"}),
            Ok("\"<a/>\""),
        ),
        (
            json!({"data_base64": binary, "datacontenttype": "image/png"}),
            Ok("{\"base64\":\"//4=\"}"),
        ),
        (
            json!({"dataref": "https://e.example/1"}),
            Ok("{\"dataref\":\"https://e.example/1\"}"),
        ),
        (json!({"data_base64": "...."}), Err("data_base64")),
        (json!({"specversion": "0.3"}), Err("specversion")),
        (json!({"id": ""}), Err("id")),
        (json!({"time": "x"}), Err("time")),
        (json!({"type": "a..b"}), Err("event_type")),
    ] {
        let found = payload(data.clone());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{data}");
    }
    let other = events(&source, &[JSON], "{}");
    assert!(matches!(other, Err(NotEvents::ContentType { .. })));
}

#[test]
fn cloudevent_that_says_little_happened_now_to_its_source() {
    let source = of("format = \"cloudevents\"");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let text =
        format!(r#"{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "traceparent": "{parent}"}}"#);
    let other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";
    let event = event(&source, &[STRUCTURED, ("traceparent", other)], &text).unwrap();
    assert_eq!((event.entity_id.as_str(), event.schema_version), ("/s", 1));
    assert_eq!(event.timestamp, clock().now());
    assert_eq!(event.traceparent.as_deref(), Some(parent));
}

const MAPPED: &str = r#"
format = "mapped"
[event]
type_prefix = "crm."
event_id = "headers['x-id'] or sha256"
event_type = "body.kind"
timestamp = "body.at or received"
entity_id = "body.deal.id or body.contact"
user_id = "body.deal.owner"
schema_version = "body.version or 1"
payload = "body.deal"
"#;

#[test]
fn provider_is_mapped_by_its_file() {
    let source = of(MAPPED);
    let body = r#"{"kind": "Deal Won!", "at": 1750000000123, "deal": {"id": 788032119674292922, "amount": 1.10}}"#;
    let found = event(&source, &[JSON, ("X-Id", "7")], body).unwrap();
    assert_eq!(
        serde_json::to_string(&found).unwrap(),
        r#"{"source":"shop","event_id":"7","event_type":"crm.deal_won_","timestamp":"2025-06-15T15:06:40.123Z","entity_id":"788032119674292922","schema_version":1,"payload":{"id": 788032119674292922, "amount": 1.10}}"#
    );
    let without_id = event(&source, &[JSON], body).unwrap();
    assert_eq!(
        without_id.event_id.as_str(),
        hex::encode(<Sha256 as sha2::Digest>::digest(body))
    );
}

#[test]
fn field_that_the_body_does_not_have_is_named() {
    let source = of(MAPPED);
    for (body, field) in [
        (r#"{"deal": {"id": 1}}"#, "event_type"),
        (r#"{"kind": "x", "deal": {}}"#, "entity_id"),
        (r#"{"kind": "x", "contact": 1}"#, "payload"),
        (r#"{"kind": "x", "deal": {"id": []}, "contact": null}"#, "entity_id"),
        (r#"{"kind": "x", "deal": {"id": {"a": 1}}}"#, "entity_id"),
        (r#"{"kind": "x", "deal": {"id": 1}, "at": "x"}"#, "timestamp"),
        (r#"{"kind": "x", "deal": {"id": 1}, "version": "x"}"#, "schema_version"),
        (r#"{"kind": {}, "deal": {"id": 1}}"#, "event_type"),
        ("[]", "event_type"),
    ] {
        assert_eq!(event(&source, &[JSON], body).unwrap_err().field, field, "{body}");
    }
    assert!(matches!(events(&source, &[JSON], "{"), Err(NotEvents::Json { .. })));
}

#[test]
fn form_is_mapped_too_and_so_is_the_json_in_its_payload() {
    let source = of(
        "format = \"mapped\"\n[event]\nevent_id = \"body.id\"\nevent_type = \"body.type or 'form'\"\nentity_id = \"body.ids[1] or body.id\"\n",
    );
    let form = ("content-type", "application/x-www-form-urlencoded");
    let fields = event(&source, &[form], "id=a+b&ids=1&ids=2&ids=3").unwrap();
    assert_eq!(fields.payload.get(), r#"{"id":"a b","ids":["1","2","3"]}"#);
    assert_eq!((fields.event_id.as_str(), fields.entity_id.as_str()), ("a b", "2"));
    let json = event(
        &source,
        &[form],
        "payload=%7B%22id%22%3A+7%2C%22type%22%3A%22click%22%7D&x=1",
    )
    .unwrap();
    assert_eq!(json.payload.get(), r#"{"id": 7,"type":"click"}"#);
    assert_eq!(json.event_type.as_str(), "click");
}

#[test]
fn each_item_of_an_array_is_an_event() {
    let source = of(
        "format = \"mapped\"\n[event]\neach = \"body.value\"\nevent_id = \"item.id\"\nevent_type = \"body.kind\"\nentity_id = \"item.id\"\n",
    );
    let items = events(
        &source,
        &[JSON],
        r#"{"kind": "k", "value": [{"id": 1}, {}, {"id": 3}]}"#,
    )
    .unwrap();
    let ids: Vec<_> = items
        .iter()
        .map(|item| item.as_ref().ok().map(|event| event.payload.get()))
        .collect();
    assert_eq!(ids, [Some(r#"{"id": 1}"#), None, Some(r#"{"id": 3}"#)]);
    for body in ["{}", r#"{"value": {}}"#] {
        assert_eq!(event(&source, &[JSON], body).unwrap_err().field, "value", "{body}");
    }
    let four = r#"{"value": [1, 2, 3, 4]}"#;
    assert_eq!(
        events(&source, &[JSON], four).map(|_| ()),
        Err(NotEvents::TooMany { found: 4, limit: 3 })
    );
}

#[test]
fn payload_that_is_nested_too_deeply_is_refused() {
    let source = of("format = \"envelope\"");
    let nested = |levels: usize| {
        let payload = "[".repeat(levels) + &"]".repeat(levels);
        own(json!({"payload": 0})).replace("\"payload\":0", &format!("\"payload\":{payload}"))
    };
    assert!(event(&source, &[JSON], &nested(100)).is_ok());
    assert_eq!(event(&source, &[JSON], &nested(101)).unwrap_err().field, "payload");
    assert_eq!(event(&source, &[JSON], &nested(300_000)).unwrap_err().field, "payload");
}

#[test]
fn expression_of_a_file_is_bounded_as_those_of_rules_are() {
    let source = of(
        "format = \"mapped\"\n[event]\nevent_id = \"body.id|format(1)\"\nevent_type = \"body.type\"\n\
        entity_id = \"body.id\"\n",
    );
    let body = r#"{"id": "%99999999999999d", "type": "order.shipped"}"#;
    let error = event(&source, &[JSON], body).unwrap_err().to_string();
    assert!(error.contains("its filters have too much to do"), "{error}");
    let file = "format = \"mapped\"\nsecret.env = \"SECRET\"\nscheme.kind = \"bearer\"\n[event]\nevent_id = \"body.id\"\n\
        event_type = \"body.type\"\nentity_id = \"body.id|indent(9)\"\n";
    let error = try_source(file, "s3cret").err().unwrap();
    assert!(error.message.contains("unknown filter indent"), "{error}");
}

#[test]
fn digest_is_the_same_for_all_that_one_signature_of_twilio_proves() {
    let file = "format = 'mapped'\nsecret.env = 'SECRET'\nscheme = { kind = 'twilio', url_env = 'URL' }\n[event]\n\
                event_id = 'sha256'\nevent_type = \"body.MessageStatus or 'none'\"\nentity_id = 'body.MessageSid'\n";
    let source = try_source(file, "s3cret").unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let id = |body: &str| event(&source, &[form], body).unwrap().event_id;
    let sent = id("MessageSid=SM1&MessageStatus=sent&To=1");
    for same in [
        "To=1&MessageStatus=sent&MessageSid=SM1",
        "MessageSid=SM1&MessageStatus=sent&To=1&To=1",
        "MessageSid=SM1&MessageStatu=ssent&To=1",
    ] {
        assert_eq!(id(same), sent, "{same}");
    }
    assert_ne!(id("MessageSid=SM1&MessageStatus=delivered&To=1"), sent);
    assert_ne!(id("MessageSid=SM2&MessageStatus=sent&To=1"), sent);
}
