//! A standby that lags behind takes over: what was lost is lost, but what comes after it is new to everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::sender::{Senders, Sent};
use crate::site::{SECRET, Site, eventually};
use crate::standby::Standby;

/// An entity that is its follower's conversation, too.
const ENTITY: &str = "projects/p/agent/sessions/ada";

/// Steps that the standby has, that it has not, and that come after it has taken over. More than a sequence is logged
/// ahead, so that without care positions of those that were lost are given out again.
const KEPT: u64 = 3;
const LOST: u64 = 60;
const AFTER: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_to_a_standby_that_lags_skips_no_message_and_gives_no_id_to_two_events() {
    let site = Site::start().await;
    let proxy = Proxy::to(&site.sockets()).await;
    let bot = site.bot(proxy.options(), |_| {}).await;
    let senders = Senders::by(bot.clock().clone(), SECRET);
    senders.aim([bot.url("")]);
    site.follow(&[ENTITY.to_owned()]).await;
    // Named for the time before or after.
    let send = async |when: &str, steps: std::ops::RangeInclusive<u64>| {
        for n in steps {
            let event = Sent::new(format!("{when}/{n}"), "step.taken", ENTITY, &json!({"n": n}));
            senders.deliver(&event).await;
        }
    };

    let mut window = Window::default();
    let standby = Standby::of(&site).await;
    send("before", 1..=KEPT).await;
    assert_eq!(window.hear(&bot, KEPT).await, (1..=KEPT).collect::<Vec<_>>());
    site.drain().await;
    standby.caught_up(&site).await;
    standby.fall_behind().await;
    let before = KEPT + LOST;
    send("before", KEPT + 1..=before).await;
    assert_eq!(window.hear(&bot, before).await, (KEPT + 1..=before).collect::<Vec<_>>());
    site.drain().await;
    let called = || {
        let calls = site.receiver.calls();
        calls
            .iter()
            .filter(|(_, body)| body["n"].as_u64() == Some(before / 4 * 4))
            .count()
            > 0
    };
    eventually("the last call is made", async || called()).await;
    let seen = site.number("select max(position) from rejoinder.event_log").await;

    standby.take_over(&site).await;
    proxy.lead_to(standby.sockets());
    let lost: i64 = sqlx::query_scalar("select count(*) from rejoinder.event_log where event_type = 'step.taken'")
        .fetch_one(&standby.pool)
        .await
        .unwrap();
    assert_eq!(lost, KEPT as i64, "the standby lacks what came last");
    // For the service the next step is the one after the last that it knows.
    let after = KEPT + AFTER;
    send("after", KEPT + 1..=after).await;
    assert_eq!(
        window.hear(&bot, after).await,
        (KEPT + 1..=after).collect::<Vec<_>>(),
        "each message after the failover is heard, once"
    );
    bot.events_applied().await;

    let reused: i64 =
        sqlx::query_scalar("select count(*) from rejoinder.event_log where position <= $1 and event_id like 'after/%'")
            .bind(seen)
            .fetch_one(&standby.pool)
            .await
            .unwrap();
    assert_eq!(reused, 0, "positions that somebody has seen name other events");
    let mut steps_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, body) in site.receiver.calls() {
        steps_of.entry(id).or_default().insert(body["n"].to_string());
    }
    let twice: Vec<_> = steps_of.iter().filter(|(_, steps)| steps.len() > 1).collect();
    assert!(twice.is_empty(), "ids of calls name two events: {twice:?}");
    bot.stop().await;
}

/// A chat window, which comes back with the id of the last message that it has heard.
#[derive(Default)]
struct Window {
    last_id: String,
}

impl Window {
    /// What is said until step `last` is, as numbers of steps.
    async fn hear(&mut self, bot: &TestBot, last: u64) -> Vec<u64> {
        let patience = Instant::now() + Duration::from_secs(60);
        let mut heard = Vec::new();
        while heard.last() != Some(&last) {
            let id = if self.last_id.is_empty() { "0" } else { &self.last_id };
            let request = bot.http().get(bot.url(&format!("/conversations/{ENTITY}/stream")));
            let mut response = request.header("last-event-id", id).send().await.unwrap();
            let mut text = String::new();
            // The service ends a stream that it cannot read for; whoever reads comes back.
            while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await {
                text.push_str(std::str::from_utf8(&chunk).unwrap());
                while let Some((block, rest)) = text.split_once("\n\n") {
                    if let Some((id, step)) = message(block) {
                        self.last_id = id;
                        heard.push(step);
                    }
                    text = rest.to_owned();
                }
                if heard.last() == Some(&last) {
                    break;
                }
            }
            assert!(Instant::now() < patience, "heard only {heard:?}");
        }
        heard
    }
}

fn message(block: &str) -> Option<(String, u64)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data: Value = serde_json::from_str(field("data: ")?).unwrap();
    Some((field("id: ")?.to_owned(), data["text"].as_str()?.parse().unwrap()))
}
