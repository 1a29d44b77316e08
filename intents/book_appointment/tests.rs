//! What recorded turns cannot show of appointments: bookings at once, turns that come twice, and the clock.

use chrono::TimeDelta;
use futures_util::future::join_all;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use crate::tests::{ask_in, start, text};

fn book(session: &str, response_id: &str, at: &str) -> Value {
    let parameters = json!({"date_time": at, "customer": session});
    let mut turn = ask_in(session, "Book Appointment", parameters);
    turn["responseId"] = response_id.into();
    turn
}

async fn rows(bot: &TestBot, at: &str) -> i64 {
    sqlx::query_scalar("select count(*) from appointments where starts_at = $1::text::timestamptz")
        .bind(at)
        .fetch_one(bot.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn slot_that_many_want_at_once_is_booked_for_one() {
    let bot = start(|_| {}).await;
    let at = "2030-01-08T09:00:00Z";
    let turns: Vec<Value> = (0..8).map(|n| book(&format!("s{n}"), &format!("r{n}"), at)).collect();
    let replies = join_all(turns.iter().map(|turn| bot.turn(turn))).await;
    let said: Vec<String> = replies.iter().map(text).collect();
    let booked = said
        .iter()
        .filter(|said| said.starts_with("Your appointment is booked"));
    assert_eq!(booked.count(), 1, "{said:?}");
    let taken = said
        .iter()
        .filter(|said| said.starts_with("That time is already taken."));
    assert_eq!(taken.count(), 7, "{said:?}");
    assert_eq!(rows(&bot, at).await, 1);
}

#[tokio::test]
async fn turn_that_comes_twice_books_once_and_says_the_same() {
    let bot = start(|_| {}).await;
    let at = "2030-01-08T09:00:00Z";
    let turn = book("s", "r", at);
    let first = bot.turn(&turn).await;
    assert_eq!(bot.turn(&turn).await, first);
    // In other words, with an id of its own: it is the same appointment still.
    assert_eq!(bot.turn(&book("s", "r2", at)).await, first);
    assert_eq!(rows(&bot, at).await, 1);
}

#[tokio::test]
async fn time_that_has_come_is_refused_and_later_ones_offered() {
    let bot = start(|_| {}).await;
    // The clock stands on a Monday.
    let at = "2026-09-21T14:30:00Z";
    bot.clock().advance(TimeDelta::seconds(16 * 60 + 40));
    let reply = bot.turn(&book("s", "r", at)).await;
    assert_eq!(
        text(&reply),
        "That time has already passed. The next free times are:\n\
         Monday, September 21, 2026 at 15:00 UTC\n\
         Monday, September 21, 2026 at 15:30 UTC\n\
         Monday, September 21, 2026 at 16:00 UTC"
    );
    assert_eq!(rows(&bot, at).await, 0);
}

#[tokio::test]
async fn offered_time_is_booked_by_its_place_in_the_list() {
    let bot = start(|_| {}).await;
    let offered = bot.turn(&book("s", "r", "2030-01-07T10:00:00Z")).await;
    let mut choice = ask_in("s", "Book Appointment", json!({"choice": 2}));
    choice["queryResult"]["outputContexts"] = offered["outputContexts"].clone();
    let said = text(&bot.turn(&choice).await);
    assert_eq!(
        said,
        "Your appointment is booked for Monday, January 7, 2030 at 11:30 UTC."
    );
    assert_eq!(rows(&bot, "2030-01-07T11:30:00Z").await, 1);
}
