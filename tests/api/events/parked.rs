//! Events that wait: a rule that fails for most of them is held, and what waited is applied at once when it is mended.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::json;

use super::command::run;
use super::directory::Directory;
use super::shop::{self, count, shipped};
use crate::serve::Running;
use crate::support::{eventually, metrics};

/// Fails where the payload has no carrier.
const BROKEN: &str =
    "on = ['order.shipped']\n[[do]]\nremember = { name = 'carrier', value = '{{ payload.carrier }}' }\n";

const MENDED: &str = "on = ['order.shipped']\n[[do]]\n\
    remember = { name = 'carrier', value = \"{{ payload.carrier|default('-') }}\" }\n\
    [[do]]\nremember = { name = 'count', value = '{{ (memory.count or 0) + 1 }}' }\n";

/// Fails for as long as no fact `mended` is known.
const BRITTLE: &str = "on = ['order.shipped']\n[[do]]\nremember = { name = 'x', value = '{{ memory.mended + 1 }}' }\n";

const ENTITIES: i64 = 12;

const EACH: i64 = 20;

async fn send_all(bot: &TestBot, each: i64) {
    for n in 0..each {
        for entity in 0..ENTITIES {
            let entity = format!("e{entity}");
            let sent = bot.send("order.shipped", &entity, shipped(&n.to_string()));
            assert_eq!(sent.await.0, 202);
        }
    }
    bot.events_applied().await;
}

/// Lets the time pass in which an event that fails alone becomes a dead letter.
async fn pass(bot: &TestBot) {
    for _ in 0..6 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
}

/// How many transactions have applied anything.
async fn transactions(bot: &TestBot) -> i64 {
    let all = "select sum(seq)::bigint from (select max(seq) as seq from rejoinder.event_cursors group by partition) c";
    sqlx::query_scalar(all).fetch_one(bot.pool()).await.unwrap()
}

const HELD: &str = "rejoinder_rules_held{rule=\"carrier\"} 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_that_fails_for_most_is_held_and_all_that_waited_is_applied_in_batches_when_it_is_mended() {
    let directory = Directory::copied().with("reactions/carrier.toml", BROKEN);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    send_all(&bot, EACH).await;
    pass(&bot).await;
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 0);
    assert_eq!(count(&bot, "rejoinder.parked_events").await, ENTITIES * EACH);
    // Only those count that failed before it was known that most do.
    assert!(count(&bot, "rejoinder.parked_events where attempts > 0").await < 5);
    assert!(metrics(&bot).await.contains(HELD));
    let first: String = sqlx::query_scalar("select event_id from rejoinder.event_log order by position limit 1")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    let explained = run(&bot, &["events", "explain", &first]).await.out;
    assert!(explained.contains("rule carrier is held"), "{explained}");
    let dead = run(&bot, &["events", "dead"]).await;
    assert_eq!(dead.out, "no dead letters\n");
    assert!(dead.err.contains("rule carrier is held: 1"), "{dead:?}");

    let before = transactions(&bot).await;
    directory.write("reactions/carrier.toml", MENDED);
    eventually("all are applied", async || {
        count(&bot, "rejoinder.parked_events").await == 0
    })
    .await;
    let took = transactions(&bot).await - before;
    assert!(
        took < ENTITIES * 4,
        "{took} transactions for {} events",
        ENTITIES * EACH
    );
    let counts = format!("rejoinder.facts where name = 'count' and value::text = '{EACH}'");
    assert_eq!(count(&bot, &counts).await, ENTITIES);
    let last = format!(
        "rejoinder.facts where name = 'tracking_number' and value::text = '\"{}\"'",
        EACH - 1
    );
    assert_eq!(count(&bot, &last).await, ENTITIES);
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 0);
    assert!(!metrics(&bot).await.contains("rejoinder_rules_held{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rule_stays_held_after_a_restart_and_one_event_now_and_then_finds_out_that_it_is_mended() {
    let directory = Directory::copied().with("reactions/brittle.toml", BRITTLE);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    send_all(&bot, 3).await;
    pass(&bot).await;
    let (database, now) = (bot.database(), bot.clock().now());
    bot.stop().await;
    let bot = shop::open_with(|settings| {
        directory.set(settings);
        settings.database = Some(database);
        settings.now = now;
    })
    .await;
    eventually("the rule is held", async || {
        metrics(&bot).await.contains("rules_held{rule=\"brittle\"} 1")
    })
    .await;
    pass(&bot).await;
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 0);
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 3 * ENTITIES);
    sqlx::query(
        "insert into rejoinder.facts select 'entity', 'e' || n, 'mended', '0', null, now() from generate_series(0, 11) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    eventually("all are applied", async || {
        bot.clock().advance(TimeDelta::seconds(31));
        count(&bot, "rejoinder.parked_events").await == 0
    })
    .await;
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 0);
    assert!(!metrics(&bot).await.contains("rules_held{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_that_fails_for_single_events_makes_dead_letters_of_them() {
    let directory = Directory::copied().with(
        "reactions/carrier.toml",
        &format!("when = 'payload.tracking_number == \"bad\"'\n{BROKEN}"),
    );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    for entity in 0..40 {
        let number = if entity % 5 == 0 { "bad" } else { "good" };
        bot.send("order.shipped", &format!("e{entity}"), shipped(number)).await;
    }
    bot.events_applied().await;
    pass(&bot).await;
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 8);
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 0);
    assert!(!metrics(&bot).await.contains("rejoinder_rules_held{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_that_is_held_is_one_line_in_the_log() {
    let directory = Directory::copied().with("reactions/carrier.toml", BROKEN).with(
        "sources/cloudevents.toml",
        "format = 'cloudevents'\ntypes = ['order.*']\n[secret]\nenv = 'CLOUDEVENTS_BEARER_TOKEN'\n\
         [scheme]\nkind = 'bearer'\n",
    );
    let events = directory.path().to_str().unwrap().to_owned();
    let mut running = Running::start_logged(&[
        ("EVENTS_DIR", &events),
        ("CLOUDEVENTS_BEARER_TOKEN", "a-bearer-token-of-the-tests"),
    ]);
    let http = reqwest::Client::builder().build().unwrap();
    for n in 0..30 {
        let event = json!({"specversion": "1.0", "id": format!("e{n}"), "source": "/shop", "type": "order.shipped",
            "subject": format!("order{n}"), "time": "2026-09-21T12:00:00Z", "dataschema": "/order.shipped/2",
            "data": shipped("1Z")});
        let post = http
            .post(format!("{}/events/cloudevents", running.url))
            .header("content-type", "application/cloudevents+json")
            .bearer_auth("a-bearer-token-of-the-tests")
            .body(event.to_string());
        assert_eq!(post.send().await.unwrap().status(), 202);
    }
    eventually("the rule is held", async || {
        let scrape = http.get(format!("{}/metrics", running.url)).send().await.unwrap();
        scrape.text().await.unwrap().contains(HELD)
    })
    .await;
    let logs = running.logs();
    let told = |text: &str| logs.lines().filter(|line| line.contains(text)).count();
    assert_eq!(told("rule is held: it fails for most of its events"), 1, "{logs}");
    assert!(told("event not applied") < 10, "{logs}");
}
