//! An event that ends the process each time it is tried is a dead letter in the end, and the others go on.

use serde_json::json;

use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};
use crate::steps::Held;

/// How often its process ends: when it is new, once among those that were waiting with it, and five times alone.
const ENDS: usize = 1 + 1 + 5;

#[tokio::test]
async fn event_that_ends_its_process_five_times_alone_is_a_dead_letter_and_the_others_are_applied() {
    const OTHERS: i64 = 150;
    let (site, senders) = (Site::start().await, Senders::new());
    let door = site.door().started().await;
    senders.aim(door.url());
    let count = async |entity: String| {
        let event = Sent::new(format!("{entity}/1"), "step.counted", &entity, &json!({"n": 1}));
        senders.deliver(&event).await;
    };
    for n in 0..OTHERS {
        if n == OTHERS / 2 {
            count("deadly".to_owned()).await;
        }
        count(format!("harmless {n}")).await;
    }
    // Whoever applies the deadly event waits for this fact, and is killed there.
    site.run("insert into rejoinder.facts values ('entity', 'deadly', 'counted', '0', null, now())")
        .await;
    let deadly = "select from rejoinder.facts where subject = 'deadly' for update";
    for _ in 0..ENDS {
        let held = Held::take(&site, deadly).await;
        site.age_workers().await;
        let worker = site.work().started().await;
        let caught = held.caught(&site).await;
        worker.kill();
        held.release(&site, &caught).await;
        assert_eq!(site.number("select count(*) from rejoinder.dead_letters").await, 0);
    }
    site.age_workers().await;
    let _worker = site.work().started().await;
    eventually("nothing waits any more", async || {
        site.number("select count(*) from rejoinder.parked_events").await == 0
            && site
                .number("select count(*) from rejoinder.facts where name = 'counted'")
                .await
                == OTHERS + 1
    })
    .await;
    let dead = "select count(*) from rejoinder.dead_letters where event_id = 'deadly/1' and attempts = 5
        and error = 'the process ended each time it was tried'";
    assert_eq!(site.number(dead).await, 1, "{}", site.log());
    assert_eq!(site.number("select count(*) from rejoinder.dead_letters").await, 1);
    let applied = "select count(*) from rejoinder.facts where name = 'counted' and value::text = '1'";
    assert_eq!(site.number(applied).await, OTHERS);
}

#[tokio::test]
async fn worker_that_ends_in_order_leaves_nothing_in_doubt() {
    let (site, senders) = (Site::start().await, Senders::new());
    let door = site.door().started().await;
    senders.aim(door.url());
    let worker = site.work().started().await;
    senders.deliver(&Sent::step("entity", 1)).await;
    eventually("it is applied", async || {
        site.number("select count(*) from rejoinder.facts where name = 'last'")
            .await
            == 1
    })
    .await;
    worker.end();
    let worker = site.work().started().await;
    senders.deliver(&Sent::step("entity", 2)).await;
    eventually("the next is applied", async || {
        site.number("select count(*) from rejoinder.facts where name = 'last' and value::text = '2'")
            .await
            == 1
    })
    .await;
    assert_eq!(
        site.number("select count(*) from rejoinder.doubted_partitions").await,
        0
    );
    worker.kill();
}
