//! Sources: what each may send, what a copied request is good for, and files that change while the service runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use sha2::Sha256;

use super::command::{Ran, run_in};
use super::directory::Directory;
use super::shop::{self, count, shipped};
use crate::support::eventually;

/// A bearer token, as long as one must be.
const TOKEN: &str = "a-token-that-is-long-enough-to-be-one";

/// The file of a source that comes in the program.
fn of_the_program(source: &str) -> Ran {
    let mut command = crate::serve::rejoinder();
    command.args(["events", "source", source]);
    super::command::ran(command)
}

/// A directory where this source's secret is set by the test.
fn with_secret_of(source: &str) -> Directory {
    let file = format!("sources/{source}.toml");
    let shipped = of_the_program(source).out;
    let (before, after) = shipped.split_once("\nenv = ").unwrap();
    let directory = Directory::copied().with(&file, &format!("{before}\ngenerated = true\nenv = {after}"));
    directory.secrets(source, &[TOKEN]);
    directory
}

fn hmac(body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Posts a body with these headers, signed by `signature`; the status, and the answer.
async fn post(bot: &TestBot, source: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let post = bot.http().post(bot.url(&format!("/events/{source}")));
    let post = headers
        .iter()
        .fold(post, |post, (name, value)| post.header(*name, *value));
    let response = post.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn source_of_the_program_takes_events_where_no_file_says_otherwise() {
    let bot = shop::open().await;
    let (status, answer) = post(&bot, "stripe", &[], "{}").await;
    // Its variable is not set in a test.
    assert_eq!(status, 503, "{answer}");
    assert_eq!(post(&bot, "strype", &[], "{}").await.0, 404);

    let directory = Directory::copied().with("sources/stripe.toml", &mapped("body.kind"));
    directory.secrets("stripe", &[TOKEN]);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let authorization = format!("Bearer {TOKEN}");
    let (status, answer) = post(&bot, "stripe", &[("authorization", &authorization)], "{}").await;
    assert_eq!(status, 422, "it is read by the directory's file: {answer}");
    let unknown = of_the_program("strype");
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("did you mean stripe?"), "{unknown:?}");
}

#[tokio::test]
async fn copied_delivery_of_github_is_no_new_event_whatever_its_headers_say() {
    let directory = with_secret_of("github");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let body = json!({"action": "opened", "issue": {"number": 7}, "repository": {"full_name": "a/b"}}).to_string();
    let signature = format!("sha256={}", hex::encode(hmac(&body)));
    let deliver = async |event: &str, delivery: &str, content_type: &str| {
        let headers = [
            ("content-type", content_type),
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", event),
            ("x-github-delivery", delivery),
            ("x-github-hook-id", "1"),
        ];
        post(&bot, "github", &headers, &body).await
    };
    let (status, answer) = deliver("issues", "1", "application/json").await;
    assert_eq!((status, &answer["status"]), (202, &json!("stored")), "{answer}");
    for (event, delivery, content_type) in [
        ("issues", "2", "application/json"),
        ("deployment_status", "1", "application/json"),
        ("release", "3", "application/json"),
        ("release", "4", "application/x-www-form-urlencoded"),
    ] {
        let (status, answer) = deliver(event, delivery, content_type).await;
        assert_eq!(
            (status, &answer["status"]),
            (200, &json!("duplicate")),
            "{event} {answer}"
        );
    }
    let types: Vec<String> = sqlx::query_scalar("select event_type from rejoinder.event_log")
        .fetch_all(bot.pool())
        .await
        .unwrap();
    assert_eq!(types, ["github.issues.opened"]);
    let metrics = crate::support::metrics(&bot).await;
    let told = "rejoinder_events_refused_total{source=\"github\",reason=\"another_type\"} 3";
    assert!(metrics.contains(told), "{metrics}");
}

#[tokio::test]
async fn copied_delivery_of_shopify_is_no_new_event_whatever_its_headers_say() {
    let directory = with_secret_of("shopify");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let body = json!({"id": 820982911946154508_u64, "updated_at": "2026-01-01T00:00:00Z"}).to_string();
    let signature = STANDARD.encode(hmac(&body));
    for (topic, id, wanted) in [
        ("orders/create", "1", (202, "stored")),
        ("orders/create", "2", (200, "duplicate")),
        ("orders/paid", "3", (200, "duplicate")),
        ("customers/redact", "1", (200, "duplicate")),
    ] {
        let headers = [
            ("x-shopify-hmac-sha256", signature.as_str()),
            ("x-shopify-topic", topic),
            ("x-shopify-webhook-id", id),
        ];
        let (status, answer) = post(&bot, "shopify", &headers, &body).await;
        assert_eq!((status, answer["status"].as_str().unwrap()), wanted, "{topic} {answer}");
    }
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
}

#[tokio::test]
async fn source_sends_only_the_types_that_its_file_lists() {
    let directory = with_secret_of("cloudevents");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/cloudevents+json"),
    ];
    let send = async |event_type: &str, data: Value| {
        let event = json!({"specversion": "1.0", "id": event_type, "source": "/s", "type": event_type, "data": data});
        post(&bot, "cloudevents", &headers, &event.to_string()).await
    };
    assert_eq!(send("com.example.tried", json!({})).await.0, 202);
    for (event_type, data) in [
        ("payment.confirmed", json!({"amount": 1, "currency": "EUR"})),
        ("order.confirmed", json!({"amount": 1})),
        ("order.shipped", shipped("1Z")),
        ("stripe.charge.succeeded", json!({})),
    ] {
        let (status, answer) = send(event_type, data).await;
        assert_eq!((status, &answer["status"]), (422, &json!("quarantined")), "{answer}");
        assert_eq!(answer["violations"][0]["pointer"], "/event_type", "{answer}");
        let message = answer["violations"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("found {event_type}, expected")),
            "{message}"
        );
    }
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);

    let (status, answer) = bot.send("stripe.charge.succeeded", "ch_1", json!({})).await;
    assert_eq!(status, 422, "a provider's types are its own: {answer}");
    assert_eq!(count(&bot, "rejoinder.event_log").await, 1);
}

const ACME: &str = "format = 'mapped'\n[secret]\nenv = 'NO_SUCH_SECRET'\ngenerated = true\n\
                    [scheme]\nkind = 'bearer'\n[event]\ntype_prefix = 'acme.'\nevent_id = 'body.uuid'\n\
                    entity_id = 'body.order'\n";

fn acme(event_type: &str) -> Directory {
    let directory = Directory::copied().with("sources/acme.toml", &mapped(event_type));
    directory.secrets("acme", &[TOKEN]);
    directory
}

fn mapped(event_type: &str) -> String {
    format!("{ACME}event_type = \"{event_type}\"\n")
}

async fn post_to_acme(bot: &TestBot, id: &str) -> (u16, Value) {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-acme-kind", "Order/Paid"),
        ("x-acme-signature", "marked-signature"),
    ];
    post(
        bot,
        "acme",
        &headers,
        &json!({"uuid": id, "order": 10042, "kind": "cart"}).to_string(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_source_is_in_force_without_a_restart_and_a_wrong_one_changes_nothing() {
    let directory = acme("body.kind");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(post_to_acme(&bot, "1").await.0, 202);
    directory.write(
        "sources/acme.toml",
        &format!("limits.body_bytes = 1\n{}", mapped("body.kind")),
    );
    eventually("the new limit is in force", async || {
        post_to_acme(&bot, "2").await.0 == 413
    })
    .await;

    directory.write("sources/acme.toml", "format = 'mapped'\n");
    directory.write(
        "reactions/order_shipped.toml",
        "on = ['order.shipped']\n[[do]]\nremember = { name = 'status', value = 'seen' }\n",
    );
    directory.write("sources/other.toml", ACME);
    let status = async || {
        assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
        bot.events_applied().await;
        shop::status_of(&bot, "10042").await
    };
    assert_eq!(status().await, "shipped 1Z");
    assert_eq!(post_to_acme(&bot, "3").await.0, 413);
    std::fs::remove_file(directory.path().join("sources/other.toml")).unwrap();
    directory.write("sources/acme.toml", &mapped("headers['x-acme-kind']"));
    eventually("the mended files are in force", async || {
        post_to_acme(&bot, "4").await.0 == 202
    })
    .await;
    assert_eq!(status().await, "seen 1Z");
    assert_eq!(
        count(
            &bot,
            "rejoinder.event_log where event_type = 'acme.order_paid' and event_id = '4'"
        )
        .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_the_file_cannot_read_is_kept_and_read_again_once_it_can() {
    let directory = acme("headers['x-acme-knid']");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    for _ in 0..2 {
        let (status, answer) = post_to_acme(&bot, "1").await;
        assert_eq!((status, &answer["status"]), (422, &json!("invalid")), "{answer}");
    }
    assert_eq!(post_to_acme(&bot, "2").await.0, 422);
    assert_eq!(count(&bot, "rejoinder.quarantined_requests").await, 2);
    let headers: String =
        sqlx::query_scalar("select string_agg(headers::text, '') from rejoinder.quarantined_requests")
            .fetch_one(bot.pool())
            .await
            .unwrap();
    assert!(headers.contains("x-acme-kind"), "{headers}");
    assert!(
        !headers.contains(TOKEN) && !headers.contains("marked-signature"),
        "{headers}"
    );

    let command = async |command: &str| run_in(&bot, directory.path(), &["events", command]).await;
    let listed = command("quarantine").await;
    assert!(
        listed.out.contains("request ") && listed.out.contains("/event_type"),
        "{}",
        listed.out
    );
    let refused = command("release").await;
    assert!(
        refused.out.contains("0 requests read, 0 events of them stored")
            && refused.out.contains("2 requests still not read by their source's file"),
        "{refused:?}"
    );
    directory.write("sources/acme.toml", &mapped("headers['x-acme-kind']"));
    let released = command("release").await;
    assert!(
        released
            .out
            .contains("2 requests read, 2 events of them stored, 0 refused"),
        "{released:?}"
    );
    let types = "rejoinder.event_log where event_type = 'acme.order_paid' and entity_id = '10042'";
    assert_eq!(count(&bot, types).await, 2);
    assert_eq!(command("quarantine").await.out, "no event is in quarantine\n");
    assert_eq!(count(&bot, "rejoinder.event_audit where action = 'release'").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_is_kept_is_gone_once_its_user_is_forgotten() {
    let directory = acme("body.nothing");
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(post_to_acme(&bot, "of-ada").await.0, 422);
    assert_eq!(post_to_acme(&bot, "of-bob").await.0, 422);
    assert_eq!(run_in(&bot, directory.path(), &["forget", "of-ada"]).await.code, 0);
    assert_eq!(count(&bot, "rejoinder.quarantined_requests").await, 1);
}
