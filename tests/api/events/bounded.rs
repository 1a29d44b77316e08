//! What an event says cannot make a rule take memory or time without end.

use rstest::rstest;

use super::directory::Directory;
use super::shop::{self, shipped, status_of};

#[rstest]
#[case("{{ payload.tracking_number|format(1) }}", "%99999999999999d")]
#[case("{{ payload.tracking_number|replace('a', payload.tracking_number)|length }}", "a")]
#[case("{{ payload.tracking_number|list|join(payload.tracking_number)|length }}", "a")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_would_take_all_memory_fails_and_others_are_applied(#[case] value: &str, #[case] bad: &str) {
    let rule = format!("on = ['order.shipped']\n[[do]]\nremember = {{ name = 'greedy', value = \"{value}\" }}\n");
    let directory = Directory::copied().with("reactions/greedy.toml", &rule);
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let bad = bad.repeat(if bad.len() == 1 { 200_000 } else { 1 });
    assert_eq!(bot.send("order.shipped", "10041", shipped(&bad)).await.0, 202);
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z%d")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped 1Z%d");
    let error: String = sqlx::query_scalar("select error from rejoinder.parked_events")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert!(error.contains("its filters have too much to do"), "{error}");
}
