//! What waits behind an event that failed is applied as soon as that one is.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::claims;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};

#[tokio::test]
async fn entity_that_is_mended_catches_up_at_once_and_in_order() {
    const EVENTS: i64 = 40;
    let (site, senders) = (Site::start().await, Senders::new());
    let door = site.door().started().await;
    senders.aim(door.url());
    for n in 1..=EVENTS {
        let event = Sent::new(format!("brittle/{n}"), "step.brittle", "brittle", &json!({"n": n}));
        senders.deliver(&event).await;
    }
    let _worker = site.work().started().await;
    eventually("all are parked", async || {
        site.number("select count(*) from parked_events").await == EVENTS
    })
    .await;
    site.run("insert into facts values ('entity', 'brittle', 'mended', '0', null, now())")
        .await;
    let mended = Instant::now();
    claims::hold(&site, &senders).await;
    // One a second is what polling alone would do.
    assert!(mended.elapsed() < Duration::from_secs(10), "{:?}", mended.elapsed());
    let total = "select value::text::int from facts where subject = 'brittle' and name = 'total'";
    assert_eq!(site.number(total).await, EVENTS, "the last one was applied last");
}
