//! What rules make of events.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::reactions::effects::KINDS;

const PAYMENT: &str = "payment.confirmed";

/// The effects of one action on a payment of 120 by `c-7`, as JSON.
fn effect(action: &str) -> Result<Value, String> {
    let rule = rule(&format!("on = ['payment.confirmed']\n[[do]]\n{action}\n"));
    let scope = scope(PAYMENT, &json!({"amount": 120, "customer": "c-7"}));
    let effects = rule.effects(&scope).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(&effects[0]).unwrap())
}

#[rstest]
#[case(
    "remember = { name = 'status', value = 'paid' }",
    json!({"action": "remember", "about": {"entity": "10042"}, "name": "status", "value": "paid"})
)]
#[case(
    "remember = { name = 'a', value = [1, '{{ payload.amount }}', { b = '{{ payload }}' }], about = { user = '{{ payload.customer }}' } }",
    json!({"action": "remember", "about": {"user": "c-7"}, "name": "a",
        "value": [1, 120, {"b": {"amount": 120, "customer": "c-7"}}]})
)]
#[case(
    "remember = { name = 'a', value = '{{ none }}' }",
    json!({"action": "remember", "about": {"entity": "10042"}, "name": "a", "value": null})
)]
#[case(
    "notify = { topic = 'orders', text = '#{{ entity_id }}: {{ payload.amount }} at {{ timestamp }}' }",
    json!({"action": "notify", "to": {"followers": "10042"}, "topic": "orders", "channel": "chat",
        "text": "#10042: 120 at 1970-01-01T00:00:00Z"})
)]
#[case(
    "notify = { topic = 'orders', channel = 'crm', text = '{% if payload.amount > 100 %}much{% endif %}', to = { session = 'projects/p/agent/sessions/{{ entity_id }}' } }",
    json!({"action": "notify", "to": {"session": "projects/p/agent/sessions/10042"}, "topic": "orders",
        "channel": "crm", "text": "much"})
)]
#[case(
    "goto = { context = 'Paid-Order', parameters = { order = '{{ entity_id }}', amount = '{{ payload.amount }}' } }",
    json!({"action": "goto", "to": {"followers": "10042"}, "kind": "context", "name": "paid-order",
        "parameters": {"order": "10042", "amount": 120}})
)]
#[case(
    "goto = { event = 'order_paid', to = { followers = 'x' } }",
    json!({"action": "goto", "to": {"followers": "x"}, "kind": "event", "name": "order_paid", "parameters": {}})
)]
#[case(
    "call = { url = 'https://crm.example/{{ payload.customer|urlencode }}', headers = { X-Order = '{{ entity_id }}' }, body = { sum = '{{ payload.amount }}' }, secret_env = 'CRM_SECRET' }",
    json!({"action": "call", "method": "POST", "url": "https://crm.example/c-7", "headers": {"X-Order": "10042"},
        "body": {"sum": 120}, "secret_env": "CRM_SECRET", "allow_private": false})
)]
#[case(
    "emit = { type = 'out', payload = { sum = '{{ payload.amount * 2 }}' }, entity = 'o-{{ entity_id }}' }",
    json!({"action": "emit", "event_type": "out", "entity_id": "o-10042", "schema_version": 1, "payload": {"sum": 240}})
)]
#[case(
    "call = { url = 'https://crm.example/a%20b/..c/{{ \"x/y\" }}/ä?of={{ \"..\" }}' }",
    json!({"action": "call", "method": "POST", "url": "https://crm.example/a%20b/..c/x/y/%C3%A4?of=..", "body": {},
        "allow_private": false})
)]
#[case("run = 'confirm_order'", json!({"action": "run", "name": "confirm_order"}))]
fn action_gives_its_effect(#[case] action: &str, #[case] expected: Value) {
    assert_eq!(effect(action).unwrap(), expected);
}

#[rstest]
#[case(
    "remember = { name = 'a', value = '{{ payload.order }}' }",
    "(remember): value: `payload.order` is undefined"
)]
#[case(
    "notify = { topic = 'a', text = '{{ payload.order }}!' }",
    "(notify): text: `payload.order` is undefined"
)]
#[case(
    "notify = { topic = 'a', text = '{% if false %}x{% endif %}' }",
    "(notify): text: found nothing, expected something to say"
)]
#[case(
    "notify = { topic = 'a', text = 'x', to = { user = '{{ user_id }}' } }",
    "(notify): the recipient: `user_id` is undefined"
)]
#[case(
    "notify = { topic = 'a', text = 'x', to = { session = 's' } }",
    "(notify): found a session"
)]
#[case(
    "emit = { type = 'out', payload = { sum = '{{ entity_id }}' } }",
    "(emit): not a valid out: /payload/sum: a string is not of type \"number\""
)]
#[case(
    "remember = { name = 'a', value = ['{{ \"x\"|batch(60000, \"x\")|first|join }}', '{{ \"x\"|batch(60000, \"x\")|first|join }}'] }",
    "(remember): value: found 12000"
)]
#[case(
    "call = { url = 'https://x.de/', headers = { X = '{{ \"a\\nb\" }}' } }",
    "(call): headers: found what no header may hold"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"..\"|urlencode }}/b' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \".\"|urlencode }}/b' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \".\" }}' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"../b\" }}' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"%2E%2e\" }}/b' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \".%2e/b\" }}' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/.{{ \".\" }}/b' }",
    "(call): url: found a path that leads"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"b?admin=1\" }}' }",
    "(call): url: invalid operation: found `?`, `#`"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"b#\" }}/c' }",
    "(call): url: invalid operation: found `?`, `#`"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \"..\\\\b\" }}' }",
    "(call): url: invalid operation: found `?`, `#`"
)]
#[case(
    "call = { url = 'https://x.de/a/{{ \".\\t.\" }}/b' }",
    "(call): url: invalid operation: found `?`, `#`"
)]
#[case(
    "notify = { topic = 'a', text = '{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}' }",
    "(notify): text: engine ran out of fuel"
)]
fn action_that_fails_says_which_and_why(#[case] action: &str, #[case] expected: &str) {
    let error = effect(action).unwrap_err();
    let expected = format!("rule rule, action 1 {expected}");
    assert!(error.starts_with(&expected), "{error}");
}

#[rstest]
#[case("payload.amount > 100", Ok(true))]
#[case("payload.amount > 100 and memory.vip", Ok(false))]
#[case("memory.known == 'yes'", Ok(true))]
#[case("user_id is defined", Ok(false))]
#[case("payload.customer is defined and payload.customer", Ok(false))]
#[case("payload.customer == 'x'", Err("rule rule, when: `payload.customer` is undefined"))]
fn condition_holds_or_not(#[case] when: &str, #[case] expected: Result<bool, &str>) {
    let rule = rule(&format!(
        "on = ['payment.confirmed']\nwhen = \"{when}\"\n[[do]]\nrun = 'confirm_order'\n"
    ));
    assert_eq!(rule.uses_memory(), when.contains("memory"));
    let facts = serde_json::from_value(json!({"known": "yes"})).unwrap();
    let scope = scope(PAYMENT, &json!({"amount": 120})).with_memory(facts);
    assert_eq!(
        rule.when(&scope).map_err(|error| error.to_string()),
        expected.map_err(str::to_owned)
    );
}

const JOIN: &str = "
    when = \"events['payment.confirmed'].payload.amount > 100\"
    [join]
    all = ['payment.confirmed', 'inventory.reserved']
    key = 'payload.order'
    within = '15m'
    [[join.on_timeout]]
    notify = { topic = 'orders', text = '{{ key }} waits for {{ missing|join(\", \") }}' }
    [[join.on_timeout]]
    remember = { name = 'paid', value = \"{{ 'payment.confirmed' in events }}\" }
    [[do]]
    remember = { name = 'sum', value = \"{{ events['payment.confirmed'].payload.amount }}\" }
";

#[test]
fn join_sees_all_its_events() {
    let rule = rule(JOIN);
    let Trigger::Join(join) = &rule.trigger else {
        panic!("{rule:?}");
    };
    assert_eq!((join.mode, join.within.as_secs()), (JoinMode::All, 900));
    let scope = scope("inventory.reserved", &json!({"order": 7}));
    assert_eq!(rule.key(&scope).unwrap().unwrap(), "7");
    let events = BTreeMap::from([
        (PAYMENT.to_owned(), seen(json!({"amount": 120}))),
        ("inventory.reserved".to_owned(), seen(json!({"order": 7}))),
    ]);
    let scope = scope.with_events(&events);
    assert_eq!(rule.when(&scope), Ok(true));
    let Effect::Remember(remember) = &rule.effects(&scope).unwrap()[0] else {
        panic!();
    };
    assert_eq!(remember.value, json!(120));
}

#[test]
fn effect_is_called_as_its_file_is() {
    for (file, value) in KINDS {
        let snake: String = value
            .char_indices()
            .flat_map(|(at, letter)| {
                let gap = (at > 0 && letter.is_uppercase()).then_some('_');
                gap.into_iter().chain(letter.to_lowercase())
            })
            .collect();
        assert_eq!(&snake, file);
    }
}

#[test]
fn time_out_of_a_join_knows_what_is_missing() {
    let events = BTreeMap::from([(PAYMENT.to_owned(), seen(json!({"amount": 120})))]);
    let scope = Scope::of_timeout("10042", "7", &events, &["inventory.reserved".to_owned()]);
    let effects = rule(JOIN).timeout_effects(&scope).unwrap();
    let Effect::Notify(notify) = &effects[0] else { panic!() };
    assert_eq!(notify.text, "7 waits for inventory.reserved");
    let Effect::Remember(remember) = &effects[1] else {
        panic!()
    };
    assert_eq!(remember.value, json!(true));
}

#[rstest]
#[case(json!({}), "`payload.order` is undefined")]
#[case(json!({"order": ""}), "found an id of 0 bytes, expected 1 to 256 with no control characters")]
#[case(json!({"order": null}), "found null, expected text")]
#[case(json!({"order": "x".repeat(300)}), "found an id of 300 bytes")]
fn key_that_is_no_id_is_an_error(#[case] payload: Value, #[case] problem: &str) {
    let error = rule(JOIN).key(&scope(PAYMENT, &payload)).unwrap_err();
    assert_eq!(error.place, "key");
    assert!(error.problem.starts_with(problem), "{error}");
}

#[test]
fn only_rules_for_a_type_listen_in_the_order_of_their_names() {
    let act = "\n[[do]]\nrun = 'confirm_order'\n";
    let file = |on: &str| format!("on = {on}{act}");
    let dir = events_dir(&[
        ("reactions/c.toml", &file("['payment.confirmed']")),
        ("reactions/a.toml", &file("['payment.*', 'any.x']")),
        ("reactions/b.toml", &file("['any.*']")),
    ]);
    let edition = Rulebook::load(dir.path(), RUN, &surroundings()).unwrap().edition();
    let listening = |event_type| -> Vec<&str> {
        let rules = edition.rules.listening(event_type);
        rules.map(|rule| rule.name.as_str()).collect()
    };
    assert_eq!(listening(PAYMENT), ["a", "c"]);
    assert_eq!(listening("payment.other"), ["a"]);
    assert_eq!(listening("any.x"), ["a", "b"]);
    assert_eq!(listening("any.y"), ["b"]);
    assert!(listening("out").is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let name = prop_oneof![Just("amount".to_owned()), Just("order".to_owned()), ".{0,5}"];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn no_payload_makes_a_rule_panic() {
    let rule = rule(
        "when = \"payload.amount > 1 and payload.order[0] != payload\"
        [join]
        all = ['any.x']
        key = 'payload.order'
        within = '1d'
        [[do]]
        notify = { topic = 'a', text = '{% for x in payload %}{{ x }}{{ payload.amount|round }}{% endfor %}' }
        [[do]]
        remember = { name = 'a', value = { a = '{{ payload.amount + 1 }}', b = '{{ payload }}' } }
        [[do]]
        emit = { type = 'out', payload = { sum = '{{ payload.order|sum }}' }, entity = '{{ payload.amount }}' }",
    );
    proptest!(|(payload in any_json())| {
        let scope = scope("any.x", &payload);
        let results = (rule.key(&scope), rule.when(&scope), rule.effects(&scope));
        let problems = [results.0.err(), results.1.err(), results.2.err()];
        for problem in problems.into_iter().flatten() {
            prop_assert!(!problem.to_string().contains('\n'), "{}", problem);
        }
    });
}
