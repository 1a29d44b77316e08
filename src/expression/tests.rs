//! Tests of expressions and templates.

use minijinja::context;
use rstest::rstest;
use serde_json::json;

use super::*;

fn eval(source: &str) -> Result<serde_json::Value, EvalError> {
    let names =
        context! { payload => Value::from(minijinja::value::Serde(json!({"amount": 120, "lines": [{"sku": "A"}]}))) };
    Expression::compile(source).unwrap().eval(&names)
}

#[test]
fn result_keeps_its_type() {
    assert_eq!(eval("payload.amount").unwrap(), json!(120));
    assert_eq!(eval("payload.amount / 100").unwrap(), json!(1.2));
    assert_eq!(eval("payload.lines").unwrap(), json!([{"sku": "A"}]));
    assert_eq!(eval("none").unwrap(), json!(null));
    assert_eq!(eval("'a/b c'|urlencode").unwrap(), json!("a%2Fb%20c"));
}

#[rstest]
#[case("payload.nothing", "`payload.nothing` is undefined")]
#[case("payload.nothing > 1", "`payload.nothing` is undefined")]
#[case("payload.nothing and true", "`payload.nothing` is undefined")]
#[case("payload.nothing.deeper", "`payload.nothing` is undefined")]
#[case("'x'|batch(70000, 'x')|first|join", "found 70002 bytes")]
#[case("'x' * 3", "invalid operation: only numbers can be multiplied in `'x' * 3`")]
#[case(
    "3 * payload.lines",
    "invalid operation: only numbers can be multiplied in `3 * payload.lines`"
)]
#[case("payload.amount + 'x'", "invalid operation")]
#[case(
    "payload.amount ** payload.amount",
    "invalid operation: the result is no number that there is in `"
)]
fn what_has_no_result_is_an_error(#[case] source: &str, #[case] problem: &str) {
    let error = eval(source).unwrap_err().0;
    assert!(error.starts_with(problem), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn undefined_can_be_asked_for() {
    assert_eq!(eval("payload.nothing is defined").unwrap(), json!(false));
    assert_eq!(eval("payload.nothing|default('-')").unwrap(), json!("-"));
}

#[rstest]
#[case("payload.amount * 2 + 3 * payload.amount", json!(600))]
#[case("2 * payload.amount|string|length ** 2 - 1", json!(17))]
#[case("(payload.lines|length * -2) * 1.5", json!(-3.0))]
#[case("2*[3*2, 'a * b'|length][0] ** 2 if payload.amount*2 > 1 else 'no'", json!(72))]
#[case("2 * payload.amount is not string", json!(2))]
fn numbers_are_multiplied_as_ever(#[case] source: &str, #[case] result: serde_json::Value) {
    assert_eq!(eval(source).unwrap(), result);
    let template = Template::compile(&format!("5 * {{{{ {source} }}}} * 5")).unwrap();
    let names = context! { payload => context! { amount => 120, lines => [context! { sku => "A" }] } };
    let text = template.render(&names).unwrap();
    assert_eq!(text, format!("5 * {result} * 5"));
}

#[rstest]
#[case(
    "{% for i in range(90000) %}{% if i %}{% endif %}{% endfor %}",
    "engine ran out of fuel"
)]
#[case(
    "{% for i in range(900) %}{{ payload.long }}{% endfor %}",
    "found more than 65536 bytes"
)]
fn work_and_output_are_bounded(#[case] source: &str, #[case] problem: &str) {
    let names = context! { payload => context! { long => "x".repeat(900) } };
    let error = Template::compile(source).unwrap().render(&names).unwrap_err().0;
    assert!(error.starts_with(problem), "{error}");
}

#[rstest]
#[case("{% include 'text' %}")]
#[case("{% macro twice(x) %}{{ x ~ x }}{% endmacro %}")]
#[case("{% set x = payload.a ~ payload.a %}")]
#[case("{%- set x %}{% for i in range(9) %}{{ payload.a }}{% endfor %}{% endset %}")]
#[case("{% for x in payload.a recursive %}{{ loop([x ~ x]) }}{% endfor %}")]
#[case("{%+ filter upper %}x{% endfilter %}")]
#[case("{% raw %}{{ x * y }}{% endraw %}")]
#[case("{{ namespace(a=1) }}{{ debug() }}{{ payload.a|indent(payload.b) }}")]
fn statement_that_has_no_bound_is_none(#[case] source: &str) {
    assert!(Template::compile(source).is_err());
}

/// Each of them would take gigabytes or hours.
#[rstest]
#[case("payload.wide|format(1)")]
#[case("'%*d'|format(payload.many, 1)")]
#[case("('%(a)s' ~ '%(a)s')|replace('%', payload.long)|format(a=payload.long)")]
#[case("payload.long|replace('a', payload.long)")]
#[case("payload.long|replace('', payload.long)")]
#[case("payload.long|batch(payload.many, '-')")]
#[case("payload.long|slice(payload.many)")]
#[case("payload.long|join(payload.long)")]
#[case("payload.long|list|join(d=payload.long)")]
#[case("payload.lines|tojson(indent=payload.many)")]
#[case("payload.lines|tojson(payload.many)")]
#[case("payload.long|list|sum(start='')")]
#[case("payload.long|list|select('in', payload.long)|list")]
#[case("payload.long|list|map('replace', 'a', payload.long)|join")]
#[case("payload.lines * payload.many")]
#[case("payload.long * payload.many")]
#[case("range(payload.many)|list")]
fn filter_does_no_more_than_its_budget(#[case] source: &str) {
    let payload =
        json!({"wide": "%99999999999999d", "many": 99_999_999_999_u64, "long": "a".repeat(200_000), "lines": [1]});
    let names = context! { payload => Value::from(minijinja::value::Serde(payload)) };
    let began = std::time::Instant::now();
    let error = Expression::compile(source).unwrap().eval(&names).unwrap_err();
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{error}");
}

#[test]
fn place_of_a_syntax_error_is_known() {
    assert_eq!(Expression::compile("payload.amount >").unwrap_err().offset, 15);
    let error = Template::compile("Order {{ entity_id }").unwrap_err();
    assert!(error.offset >= 6, "{error:?}");
}

#[rstest]
#[case("payload.a.b > 1 and memory.vip", &["memory.vip", "payload.a.b"])]
#[case("payload['a'][\"b\"]", &["payload.a.b"])]
#[case("payload.lines[0].sku", &["payload.lines._0.sku"])]
#[case("events[\"payment.confirmed\"].payload.amount", &["events.payment.confirmed.payload.amount"])]
#[case("range(3)[0] in [1] and payload[entity_id]", &["entity_id", "payload"])]
fn paths_are_those_that_are_read(#[case] source: &str, #[case] paths: &[&str]) {
    assert_eq!(Expression::compile(source).unwrap().paths(), paths);
    assert_eq!(
        Template::compile(&format!("a {{{{ {source} }}}}")).unwrap().paths(),
        paths
    );
}

#[test]
fn json_template_cannot_be_broken_out_of() {
    let names = context! { text => "\"}, {\"" };
    let template = Template::compile_json(r#"{"text": {{ text }}, "again": {{ text|tojson }}}"#).unwrap();
    let value: serde_json::Value = serde_json::from_str(&template.render(&names).unwrap()).unwrap();
    assert_eq!(value, json!({"text": "\"}, {\"", "again": "\"}, {\""}));
}

#[rstest]
#[case("payload.a|uper", Some(10))]
#[case("payload.a | upper|lowr", Some(18))]
#[case("payload.a is nothing", Some(13))]
#[case("payload.a is not defind", Some(17))]
#[case("'a|b is c' ~ \"\\\"|x\"", None)]
#[case("payload.is is defined and payload.a is not none", None)]
fn filter_that_there_is_not_is_found(#[case] source: &str, #[case] offset: Option<usize>) {
    assert_eq!(Expression::compile(source).err().map(|error| error.offset), offset);
    let template = format!("don't |this is it {{{{ {source} }}}} it|is so");
    let in_template = Template::compile(&template).err().map(|error| error.offset);
    assert_eq!(in_template, offset.map(|offset| offset + 21));
}

#[test]
fn nothing_is_lost_when_text_is_undefined() {
    let names = context! { payload => context! {} };
    let error = Template::compile("/{{ payload.a|urlencode }}")
        .unwrap()
        .render(&names)
        .unwrap_err();
    assert!(error.0.contains("undefined"), "{error}");
}
