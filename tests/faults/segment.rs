//! The log's segment of a new week, when several make it at once.

use crate::site::Site;
use crate::steps::Held;

#[tokio::test]
async fn two_that_make_a_segment_at_once_both_succeed() {
    const MAKE: &str = "select rejoinder.create_event_segment('2030-01-07')";
    let site = Site::start().await;
    let first = Held::take(&site, MAKE).await;
    let pool = site.pool.clone();
    let second = tokio::spawn(async move { sqlx::query(MAKE).execute(&pool).await });
    let caught = first.caught(&site).await;
    first.release(&site, &caught).await;
    second.await.unwrap().unwrap();
    let segments = "select count(*) from pg_inherits where inhrelid::regclass::text ~ '_20300107$'";
    assert_eq!(site.number(segments).await, 2);
}
