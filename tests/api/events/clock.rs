//! Processes whose machines disagree about the time go by one clock, the database's.

use chrono::{DateTime, TimeDelta, Utc};
use rejoinder::Clock;
use rejoinder::testing::TestBot;

use super::shop::{self, count, shipped, shop};

/// A shop on a machine whose clock is wrong by so many days, and a second one with the right time on the same database.
async fn two_machines(days: i64) -> [TestBot; 2] {
    let wrong = shop::open_with(|settings| settings.clock = Some(Clock::off_by(TimeDelta::days(days)))).await;
    let database = wrong.database();
    let right = TestBot::start_with(shop(), |settings| {
        settings.database = Some(database);
        settings.clock = Some(Clock::system());
    })
    .await;
    [wrong, right]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_is_sent_to_two_machines_with_different_clocks_is_stored_once() {
    for days in [9, 40, -40] {
        let machines = two_machines(days).await;
        let event = machines[0].envelope("order.shipped", "10042", &shipped("1Z"));
        for ((first, second), expected) in [(0, 1), (1, 0)].into_iter().zip([[202, 200], [200, 200]]) {
            let answers = [
                machines[first].post_event("generic", &event).await.0,
                machines[second].post_event("generic", &event).await.0,
            ];
            assert_eq!(answers, expected, "{days} days apart");
        }
        assert_eq!(count(&machines[0], "rejoinder.event_log").await, 1);
        let apart: f64 =
            sqlx::query_scalar("select abs(extract(epoch from now() - received_at))::float8 from rejoinder.event_log")
                .fetch_one(machines[0].pool())
                .await
                .unwrap();
        assert!(apart < 60.0, "received {apart} s from now");
        let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(machines[0].pool())
            .await
            .unwrap();
        for machine in machines {
            assert!((machine.clock().now() - now).abs() < TimeDelta::seconds(30));
            machine.stop().await;
        }
    }
}
