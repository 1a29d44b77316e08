//! Events that rules emit are events, and rules that emit in a circle come to an end.

use chrono::TimeDelta;
use serde_json::json;

use super::command::run;
use super::directory::Directory;
use super::shop::{self, count, shipped, status_of};

const ANY: &str = r#"{"type": "object", "properties": {"number": {"type": "string"}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_a_rule_emits_is_applied_to_the_entity_it_names() {
    let directory = Directory::copied()
        .with("schemas/parcel.left/1.json", ANY)
        .with(
            "reactions/parcel_left.toml",
            "on = ['parcel.left']\n[[do]]\nremember = { name = 'tracking_number', value = '{{ payload.number }}' }\n",
        )
        .with(
            "reactions/tell_parcel.toml",
            "on = ['order.shipped']\n[[do]]\n\
             emit = { type = 'parcel.left', entity = 'parcel-{{ entity_id }}', payload = { number = '{{ payload.tracking_number }}' } }\n",
        );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "parcel-10042").await, "- 1Z");
    assert_eq!(count(&bot, "rejoinder.event_log where source = 'rejoinder'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_emit_in_a_circle_end_as_a_dead_letter() {
    let directory = Directory::copied()
        .with("schemas/ping/1.json", ANY)
        .with("schemas/pong/1.json", ANY)
        .with(
            "reactions/ping.toml",
            "on = ['ping']\nwhen = 'entity_id == \"ball\"'\n[[do]]\nemit = { type = 'pong', payload = {} }\n",
        )
        .with(
            "reactions/pong.toml",
            "on = ['pong']\n[[do]]\nemit = { type = 'ping', payload = {} }\n",
        );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(bot.send("ping", "ball", json!({})).await.0, 202);
    for _ in 0..6 {
        bot.events_applied().await;
        bot.clock().advance(TimeDelta::seconds(9));
    }
    bot.events_applied().await;
    assert_eq!(count(&bot, "rejoinder.event_log").await, 17);
    let hops = "(select distinct hops from rejoinder.event_log) hops";
    assert_eq!(count(&bot, hops).await, 17, "each is one further");
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 1);
    let dead = run(&bot, &["events", "dead"]).await.out;
    assert!(dead.contains("is emitted in a circle"), "{dead}");
}
