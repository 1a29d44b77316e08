//! `rejoinder events check`: what it finds in the files before an event does.

use rstest::rstest;
use serde_json::json;

use super::command::{Ran, run_in};
use super::directory::Directory;
use super::shop::{self, count, shipped, status_of};
use crate::serve::{Running, rejoinder};
use crate::support::eventually;

/// Checks a directory; no database is asked.
fn check(directory: &Directory) -> Ran {
    let mut command = rejoinder();
    command.env("EVENTS_DIR", directory.path()).args(["events", "check"]);
    super::command::ran(command)
}

const DO: &str = "[[do]]\nremember = { name = 'seen', value = 1 }\n";

#[rstest]
#[case::directory(
    "reaction/x.toml",
    DO,
    "reaction: nobody reads this directory",
    "(did you mean reactions?)"
)]
#[case::yaml(
    "reactions/x.yaml",
    DO,
    "reactions/x.yaml: nobody reads this file",
    "expected <name>.toml"
)]
#[case::type_name(
    "schemas/Order.Shipped/1.json",
    "{}",
    "schemas/Order.Shipped: found the type",
    "lower-case"
)]
#[case::emit_without_what_is_required(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\nemit = { type = 'payment.failed', payload = { can_retry = '{{ payload.received_by is defined }}' } }\n",
    "reactions/x.toml:3:17: found what is never a valid payment.failed",
    "\"reason\" is a required property"
)]
#[case::emit_of_another_kind(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\nemit = { type = 'payment.failed', payload = { reason = 5 } }\n",
    "reactions/x.toml:3:17: found what is never a valid payment.failed",
    "/payload/reason"
)]
#[case::its_own_type(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\nemit = { type = 'order.delivered' }\n",
    "reactions/x.toml: found a circle: x emits for x",
    "expected an end"
)]
#[case::private_address(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\ncall = { url = 'http://127.0.0.1/x' }\n",
    "reactions/x.toml:3:16: 127.0.0.1 is no public address",
    "allow_private = true"
)]
#[case::signed_url(
    "sources/x.toml",
    "format = 'envelope'\nsecret.env = 'X'\nscheme = { kind = 'hmac', header = 'x-sign', signed = '{url}:{body}' }\n",
    "sources/x.toml:3:10: signed: found {url}, which is no header",
    "expected {body}, {timestamp} or the name of a header"
)]
#[case::filter_of_a_source(
    "sources/x.toml",
    "format = 'mapped'\nsecret.env = 'X'\nscheme.kind = 'bearer'\n[event]\nevent_id = 'body.id'\n\
     event_type = 'body.kind | snake'\nentity_id = 'body.id'\n",
    "sources/x.toml:6:",
    "snake"
)]
fn mistake_is_an_error(#[case] file: &str, #[case] text: &str, #[case] begins: &str, #[case] says: &str) {
    let directory = Directory::copied().with(file, text);
    let Ran { code, out, .. } = check(&directory);
    let place = format!("{}/{begins}", directory.path().display());
    let told = out.lines().find(|line| line.starts_with(&place));
    assert!(
        told.is_some_and(|line| line.contains(says)),
        "{place} … {says} is not in\n{out}"
    );
    assert_eq!(code, 1, "{out}");
}

#[rstest]
#[case::optional_property(
    "reactions/x.toml",
    "on = ['order.shipped']\n[[do]]\nnotify = { topic = 'orders', text = 'With {{ payload.carrier }}' }\n",
    "reactions/x.toml:3:37: warning: payload.carrier may be missing"
)]
#[case::user(
    "reactions/x.toml",
    "on = ['order.shipped']\n[[do]]\nnotify = { topic = 'orders', text = 'Hi', to = { user = '{{ user_id }}' } }\n",
    "reactions/x.toml:3:57: warning: user_id may be missing"
)]
#[case::circle_with_a_condition(
    "reactions/x.toml",
    "on = ['order.delivered']\nwhen = 'memory.again'\n[[do]]\nemit = { type = 'order.delivered' }\n",
    "reactions/x.toml: warning: found a circle"
)]
#[case::channel_without_a_secret(
    "channels/crm.toml",
    "url = 'https://crm.example.com/'\nsecret_env = 'CRM_SECRET'\n",
    "channels/crm.toml: warning: found no secret in CRM_SECRET"
)]
#[case::call_without_a_secret(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\ncall = { url = 'https://crm.example.com/', secret_env = 'CRM_SECRET' }\n",
    "reactions/x.toml: warning: found no secret in CRM_SECRET"
)]
#[case::call_without_a_clients_secret(
    "reactions/x.toml",
    "on = ['order.delivered']\n[[do]]\n[do.call]\nurl = 'https://crm.example.com/'\n\
     oauth = { token_url = 'https://id.example/token', client_id = 'shop', client_secret = 'CRM_CLIENT_SECRET' }\n",
    "reactions/x.toml: warning: found no secret in CRM_CLIENT_SECRET"
)]
fn what_is_hardly_meant_is_warned_of(#[case] file: &str, #[case] text: &str, #[case] begins: &str) {
    let directory = Directory::copied().with(file, text);
    let Ran { code, out, .. } = check(&directory);
    let place = format!("{}/{begins}", directory.path().display());
    assert!(
        out.lines().any(|line| line.starts_with(&place)),
        "{place} is not in\n{out}"
    );
    assert!(code == 0 && out.ends_with("no errors, 1 warnings\n"), "{code} {out}");
}

#[rstest]
#[case("when = 'payload.carrier is defined'", "{{ payload.carrier }}")]
#[case("when = 'payload[\"carrier\"] is  not undefined'", "{{ payload.carrier }}")]
#[case("", "{{ payload.carrier|default('us') }}")]
#[case("", "{% if payload.carrier is defined %}{{ payload.carrier }}{% endif %}")]
#[case("", "{{ payload.tracking_number }}")]
fn what_is_asked_for_first_is_no_mistake(#[case] when: &str, #[case] text: &str) {
    let rule = format!("on = ['order.shipped']\n{when}\n[[do]]\nnotify = {{ topic = 'orders', text = \"{text}\" }}\n");
    let Ran { code, out, .. } = check(&Directory::copied().with("reactions/x.toml", &rule));
    assert!(code == 0 && out.ends_with("all files are right\n"), "{code} {out}");
}

#[test]
fn directory_that_is_not_there_is_an_error() {
    let mut command = rejoinder();
    command.args(["events", "check", "--events-dir", "/no/such/directory"]);
    let Ran { code, out, .. } = super::command::ran(command);
    assert!(
        code == 1 && out.starts_with("/no/such/directory: found no such directory"),
        "{code} {out}"
    );
}

const NEWER: &str = r#"{"type": "object", "required": ["number"], "properties": {"number": {"type": "string", "minLength": 3},
    "by": {"type": "string"}}}"#;

#[rstest]
#[case::nothing("", None, "found no 3.upcast.jinja, expected it: events of version 2 come")]
#[case::quotes(
    "3.upcast.jinja",
    Some(r#"{"number": "{{ payload.tracking_number }}"}"#),
    "for the payload {\"carrier\":\"example\",\"tracking_number\":\"example\"}: found no JSON"
)]
#[case::against_the_schema(
    "3.upcast.jinja",
    Some(r#"{"number": 5}"#),
    "printed {\"number\":5}, which its schema refuses: /payload/number"
)]
fn version_to_which_no_event_can_be_brought_is_an_error(
    #[case] name: &str,
    #[case] upcaster: Option<&str>,
    #[case] says: &str,
) {
    let directory = Directory::copied().with("schemas/order.shipped/3.json", NEWER);
    directory.write("reactions/order_shipped.toml", &format!("on = ['order.shipped']\n{DO}"));
    if let Some(upcaster) = upcaster {
        directory.write(&format!("schemas/order.shipped/{name}"), upcaster);
    }
    let Ran { code, out, .. } = check(&directory);
    assert!(code == 1 && out.contains(says), "{code} {out}");
}

#[test]
fn upcaster_that_fails_without_what_is_optional_is_warned_of() {
    let directory = Directory::copied().with("schemas/order.shipped/3.json", NEWER);
    directory.write("reactions/order_shipped.toml", &format!("on = ['order.shipped']\n{DO}"));
    let upcaster = r#"{"number": {{ payload.tracking_number }}, "by": {{ payload.carrier }}}"#;
    directory.write("schemas/order.shipped/3.upcast.jinja", upcaster);
    let Ran { code, out, .. } = check(&directory);
    assert!(
        code == 0 && out.contains("warning: for the payload {\"tracking_number\":\"example\"}"),
        "{out}"
    );
    let guarded = upcaster.replace("payload.carrier", "payload.carrier|default('us')");
    directory.write("schemas/order.shipped/3.upcast.jinja", &guarded);
    let Ran { code, out, .. } = check(&directory);
    assert!(code == 0 && out.ends_with("all files are right\n"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_the_log_are_tried_too() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("12")).await.0, 202);
    assert_eq!(bot.send("order.shipped", "10042", shipped("123")).await.0, 202);
    assert_eq!(bot.send("com.example.x", "10042", json!({})).await.0, 202);
    directory.write("schemas/order.shipped/3.json", NEWER);
    directory.write(
        "schemas/order.shipped/3.upcast.jinja",
        r#"{"number": {{ payload.tracking_number }}}"#,
    );
    directory.write("reactions/order_shipped.toml", &format!("on = ['order.shipped']\n{DO}"));
    let without = run_in(&bot, directory.path(), &["events", "check"]).await;
    assert_eq!(without.code, 0, "{without:?}");
    let ran = run_in(&bot, directory.path(), &["events", "check", "--against-log"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = "schemas/order.shipped: 1 of 2 events of version 2 in the log fail, the newest is ";
    assert!(ran.out.contains(told) && ran.out.contains("1 errors"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_that_would_kill_the_events_of_the_one_before_does_not_go_into_force() {
    let directory = Directory::copied();
    let events = directory.path().to_str().unwrap().to_owned();
    let mut running = Running::start_logged(&[("EVENTS_DIR", &events)]);
    let schema = std::fs::read_to_string(directory.path().join("schemas/order.shipped/2.json")).unwrap();
    directory.write("schemas/order.shipped/3.json", &schema);
    eventually("the refusal is logged", async || {
        running.log_so_far().contains("stays as it was")
    })
    .await;
    let log = running.logs();
    let told = log.lines().filter(|line| line.contains("stays as it was"));
    assert_eq!(told.count(), 1, "{log}");
    assert!(
        log.contains("schemas/order.shipped/3.json: found no 3.upcast.jinja"),
        "{log}"
    );

    let bot_directory = Directory::copied();
    let bot = shop::open_with(|settings| bot_directory.set(settings)).await;
    bot_directory.write("schemas/order.shipped/3.json", &schema);
    // In one edition with it nothing else goes into force: a file that is right shows when it was looked at.
    bot_directory.write("schemas/order.found/1.json", "{}");
    let published = async || -> String {
        let answer = bot.http().get(bot.url("/events/catalogue")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped 1Z");
    bot_directory.write("schemas/order.shipped/3.upcast.jinja", "{{ payload }}");
    eventually("the mended files are in force", async || {
        published().await.contains("order.found")
    })
    .await;
    let mut old = bot.envelope("order.shipped", "10042", &shipped("2Z"));
    old["schema_version"] = json!(2);
    assert_eq!(bot.post_event("generic", &old).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped 2Z");
    assert_eq!(
        count(&bot, "rejoinder.dead_letters").await + count(&bot, "rejoinder.parked_events").await,
        0
    );
}
