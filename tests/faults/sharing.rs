//! Workers share the partitions, take over those of one that is gone, and do not get in the way of one that wakes up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::claims::Faults;
use crate::sender::{Senders, Sent};
use crate::site::{Site, eventually};
use crate::steps::Held;

/// How many partitions each worker has, the most first.
async fn shares(site: &Site) -> Vec<i64> {
    sqlx::query_scalar("select count(*) from rejoinder.event_leases group by worker order by 1 desc")
        .fetch_all(&site.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn two_workers_have_half_of_the_partitions_each_and_one_takes_over_within_seven_seconds() {
    let site = Site::start().await;
    let (one, _other) = (site.work().started().await, site.work().started().await);
    eventually("each has half of them", async || shares(&site).await == [16, 16]).await;
    one.kill();
    let killed = Instant::now();
    eventually("the other has all", async || shares(&site).await == [32]).await;
    assert!(killed.elapsed() < Duration::from_secs(7), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn third_worker_gets_its_share_and_gives_it_back() {
    let site = Site::start().await;
    let (_one, _other) = (site.work().started().await, site.work().started().await);
    let third = site.work().started().await;
    eventually("all have about as many", async || {
        let shares = shares(&site).await;
        shares.len() == 3 && shares.iter().sum::<i64>() == 32 && shares[0] - shares[2] <= 2
    })
    .await;
    third.end();
    eventually("two have all, at once", async || shares(&site).await == [16, 16]).await;
}

#[tokio::test]
async fn worker_that_wakes_up_after_eight_seconds_applies_nothing_twice() {
    assert_eq!(wake_up(&Site::start().await).await, Faults::default());
}

#[tokio::test]
async fn without_the_fence_it_would() {
    let site = Site::start().await;
    site.run(
        "create or replace function rejoinder.advance_cursor(in_partition smallint, new_seq bigint, new_position bigint,
             by_worker uuid) returns boolean language plpgsql as $$ begin
             insert into rejoinder.event_cursors select in_partition, 1 + coalesce(max(seq), 0), new_position, by_worker
             from rejoinder.event_cursors where partition = in_partition on conflict do nothing;
             return true;
         end $$",
    )
    .await;
    let found = wake_up(&site).await;
    assert!(found.applied_twice > 0 && found.out_of_order > 0, "{found:?}");
}

/// Has a worker sleep in the middle of what it applies until another has all of its partitions, and then go on.
async fn wake_up(site: &Site) -> Faults {
    let senders = Arc::new(Senders::new());
    let door = site.door().started().await;
    senders.aim(door.url());
    let entities: Vec<String> = (0..40).map(|entity| format!("entity {entity}")).collect();
    site.follow(&entities).await;
    let step = async |n| {
        futures_util::future::join_all(entities.iter().map(|entity| {
            let senders = Arc::clone(&senders);
            async move { senders.deliver(&Sent::step(entity, n)).await }
        }))
        .await
    };

    let held = Held::take(site, "lock table rejoinder.facts in share mode").await;
    let sleeper = site.work().started().await;
    step(1).await;
    let caught = held.caught(site).await;
    sleeper.stop();
    held.release(site, &caught).await;
    let _other = site.work().started().await;
    step(2).await;
    let asleep = Instant::now();
    eventually("the other has all partitions", async || {
        shares(site).await == [32] && asleep.elapsed() > Duration::from_secs(8)
    })
    .await;
    step(3).await;
    sleeper.go_on();
    step(4).await;
    eventually("it takes part again", async || shares(site).await == [16, 16]).await;
    step(5).await;
    site.drain().await;
    Faults::find(site, &senders).await
}
