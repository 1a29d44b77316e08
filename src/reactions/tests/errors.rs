//! What is wrong with a rule's file is told with its place.

use rstest::rstest;

use super::*;

#[rstest]
#[case("on = []\n", "1:6: found no event type")]
#[case("on = [\n  'payment.confirmd',\n]\n", "2:3: found event type \"payment.confirmd\"")]
#[case("on = ['nothing.*']\n", "1:7: found event type \"nothing.*\"")]
#[case(
    "on = ['Any.X']\n",
    "1:7: found event type \"Any.X\", expected one that events/schemas has"
)]
#[case(
    "on = ['payment.confrimed']\n",
    "1:7: found event type \"payment.confrimed\", expected one that events/schemas has (did you mean payment.confirmed?)"
)]
#[case(
    "on = ['any.x']\n[[do]]\nemit = { type = 'any.Odd' }\n",
    "3:17: found event type \"any.Odd\""
)]
#[case("[[do]]\nrun = 'confirm_order'\n", " expected one of on = [..] and [join]")]
#[case("on = ['any.x']\n", " found no [[do]]")]
#[case(
    "on = ['any.x']\nwehn = 'true'\n",
    "2:1: found the key wehn, expected one of on, join, when, do (did you mean when?)"
)]
#[case(
    "on = 'any.x'\n",
    "1:6: found the text \"any.x\", expected an array, such as [\"..\", \"..\"]"
)]
#[case(
    "on = ['payment.confirmed']\nwhen = '{{ payload.amount > 1 }}'\n",
    "2:9: found braces, expected an expression without them"
)]
#[case(
    "on = ['payment.confirmed']\n[[do]]\nremember = { name = 'a', value = '{{ payload.customer.upper() }}' }\n",
    "3:38: found payload.customer.upper, but there are no methods, expected payload.customer|upper"
)]
#[case(
    "on = ['any.x']\n[[do]]\nrun = 'confirm_ordr'\n",
    "3:7: found \"confirm_ordr\", expected an action of the bot (confirm_order) (did you mean confirm_order?)"
)]
#[case(
    "on = ['any.x']\n[[do]]\nnotify = { topic = 'a', text = 'b', chanel = 'crm' }\n",
    "3:37: found the key chanel, expected one of topic, text, channel, to (did you mean channel?)"
)]
#[case(
    "on = ['any.x']\n[[do]]\nrun = 'x'\n",
    "3:7: found \"x\", expected an action of the bot (confirm_order)"
)]
#[case(
    "on = ['any.x']\n[[do]]\nrun = 'x'\nemit = { type = 'out' }\n",
    "2:1: found several keys, expected one of them; each action has a [[do]] of its own"
)]
#[case(
    "on = ['any.x']\n[[do]]\ncall = { url = 'https://crm.example/', oauth = { client_id = 'a', client_secret = 'B' } }\n",
    "3:48: oauth: found neither token_url nor issuer, expected one of them"
)]
#[case(
    "on = ['any.x']\n[[do]]\nemit = { type = 'uot' }\n",
    "3:17: found event type \"uot\""
)]
#[case("on = ['any.x']\nwhen = 'payload.a >'\n", "2:19: syntax error")]
#[case(
    "on = ['any.x']\nwhen = 'paylod.a'\n",
    "2:9: found paylod.a, expected one of event_id"
)]
#[case(
    "on = ['any.x']\nwhen = 'entity_id.x'\n",
    "2:9: found entity_id.x, which has no properties"
)]
#[case("on = ['any.x']\nwhen = 'events.x'\n", "2:9: found events.x, expected one of")]
#[case(
    "on = ['payment.*']\nwhen = 'true and payload.amuont > 1'\n",
    "2:18: found payload.amuont, which the schema of payment.confirmed (version 1) does not have (did you mean amount?)"
)]
#[case(
    "on = ['any.x', 'payment.confirmed']\nwhen = 'payload[\"amuont\"] > 1'\n",
    "2:18: found payload.amuont"
)]
#[case(
    "on = ['payment.confirmed']\n[[do]]\nnotify.topic = 't'\nnotify.text = \"\"\"Hello,\nü {{ payload.nmae }}\"\"\"\n",
    "5:6: found payload.nmae"
)]
#[case(
    "on = ['payment.confirmed']\n[[do]]\ngoto = { context = 'c', parameters = { a = [{ b = '{{ payload.x }}' }] } }\n",
    "3:55: found payload.x"
)]
#[case(
    "on = ['any.x']\n[[do]]\nnotify = { topic = 'a b', text = 'x' }\n",
    "3:20: found \"a b\", expected a topic"
)]
#[case(
    "on = ['any.x']\n[[do]]\nnotify = { topic = 'a', text = 'x', channel = 'sms' }\n",
    "3:47: found \"sms\", expected chat or a file of events/channels (crm)"
)]
#[case("on = ['any.x']\n[[do]]\nnotify = { topic = 'a', text = 'x {{ y }' }\n", "3:40: ")]
#[case(
    "on = ['any.x']\n[[do]]\nnotify = { topic = 'a', text = 'x', to = { entity = 'x' } }\n",
    "3:53: found entity, which cannot be told anything"
)]
#[case(
    "on = ['any.x']\n[[do]]\ngoto = { context = 'no space' }\n",
    "3:20: found context id \"no space\""
)]
#[case("on = ['any.x']\n[[do]]\ngoto = {}\n", "3:8: expected one of context and event")]
#[case(
    "on = ['any.x']\n[[do]]\nremember = { name = 'a-b', value = 1 }\n",
    "3:21: found \"a-b\", expected a name"
)]
#[case(
    "on = ['any.x']\n[[do]]\nremember = { name = 'a', value = 2026-01-01 }\n",
    "3:34: found a date"
)]
#[case(
    "on = ['any.x']\n[[do]]\ncall = { url = 'https://{{ payload.h }}/x' }\n",
    "3:16: found \"https://{{ payload.h"
)]
#[case("on = ['any.x']\n[[do]]\ncall = { url = 'file:///etc' }\n", "3:16: found")]
#[case(
    "on = ['any.x']\n[[do]]\ncall = { url = 'https://x.de', method = 'GET' }\n",
    "3:41: found \"GET\""
)]
#[case(
    "on = ['any.x']\n[[do]]\ncall = { url = 'https://x.de', headers = { 'a b' = '' } }\n",
    "3:44: found \"a b\""
)]
#[case("[join]\nwithin = '1m'\n", "1:1: expected one of all = [..] and any = [..]")]
#[case("[join]\nall = ['any.*']\nwithin = '1m'\n", "2:8: found a *")]
#[case(
    "[join]\nall = ['any.x']\nwithin = '31d'\n[[do]]\nrun = 'confirm_order'\n",
    "3:10: found \"31d\", expected a time"
)]
#[case(
    "[join]\nall = ['any.x']\nwithin = '0s'\n[[do]]\nrun = 'confirm_order'\n",
    "3:10: found \"0s\", expected a time"
)]
#[case(
    "[join]\nall = ['any.x']\n[[do]]\nrun = 'confirm_order'\n",
    "1:1: found no within, expected it"
)]
#[case(
    "[join]\nall = ['payment.confirmed', 'inventory.reserved']\nwithin = '1m'\nkey = 'payload.customer'\n",
    "4:8: found payload.customer, which the schema of inventory.reserved (version 1) does not have"
)]
#[case(
    "when = \"events['payment.confirmed'].payload.amuont > 1\"\n[join]\nall = ['payment.confirmed']\nwithin = '1m'\n",
    "1:45: found events.payment.confirmed.payload.amuont"
)]
#[case(
    "when = \"events['payment.failed'].payload.x\"\n[join]\nall = ['payment.confirmed']\nwithin = '1m'\n",
    "1:42: found events.payment.failed.payload.x, expected events[..] of one of payment.confirmed"
)]
#[case(
    "[join]\nall = ['payment.confirmed']\nwithin = '1m'\n[[join.on_timeout]]\nremember = { name = 'a', value = '{{ payload.amount }}' }\n",
    "5:38: found payload.amount, expected one of entity_id, key, missing and events"
)]
#[case(
    "[join]\nany = ['payment.confirmed']\nwithin = '1m'\n[[join.on_timeout]]\nrun = 'confirm_order'\n",
    "1:1: found on_timeout with any"
)]
fn every_error_has_its_place(#[case] rule: &str, #[case] expected: &str) {
    let dir = events_dir(&[("reactions/rule.toml", rule)]);
    let errors: Vec<String> = check(dir.path(), RUN, &surroundings())
        .iter()
        .map(ToString::to_string)
        .collect();
    let found = errors.iter().any(|error| {
        let error = error.split_once("rule.toml:").unwrap().1;
        error.starts_with(expected)
    });
    assert!(found, "expected {expected}, found {errors:#?}");
}

#[test]
fn all_errors_of_all_files_are_told() {
    let dir = events_dir(&[
        ("schemas/wrong/1.json", "{"),
        ("reactions/a.toml", "on = ['any.x']\nwhen = 'x'\n[[do]]\nrun = 'y'\n"),
        ("reactions/b.toml", "on ="),
        (
            "reactions/c.toml",
            "on = ['wrong']\nwhen = 'payload.x'\n[[do]]\nrun = 'confirm_order'\n",
        ),
    ]);
    let errors = check(dir.path(), RUN, &surroundings());
    let files: Vec<_> = errors.iter().map(|error| error.file.file_name().unwrap()).collect();
    assert_eq!(files, ["1.json", "a.toml", "a.toml", "b.toml"]);
}
