//! Conversations of several turns, in which each turn's parameters are written into the contexts that are active.

use serde_json::json;

use crate::tests::{start, text};

const SESSION: &str = "projects/p/agent/sessions/s";

#[tokio::test]
async fn transactions_after_the_balance_are_those_of_the_account_talked_about() {
    let bot = start(|_| {}).await;
    let mut story = bot.story(SESSION);
    let savings = json!({"user_id": "12345", "account_type": "savings"});
    story.say("Get Account Balance", savings).await;
    let unsaid = json!({"user_id": "", "account_type": ""});
    let told = text(&story.say("Recent Transactions", unsaid).await);
    assert!(
        told.starts_with("Here are the latest transactions of your savings account:"),
        "{told}"
    );
    assert!(told.contains("Interest"), "{told}");
}

#[tokio::test]
async fn list_goes_on_after_a_question_that_was_asked_back() {
    let bot = start(|_| {}).await;
    let mut story = bot.story(SESSION);
    let checking = json!({"user_id": "12345", "account_type": "checking"});
    story.say("Recent Transactions", checking).await;
    let unsaid = json!({"user_id": "", "account_type": ""});
    let asked = text(&story.say("Get Account Balance", unsaid).await);
    assert_eq!(asked, "What is your customer number?");
    let more = text(&story.say("Recent Transactions - more", json!({})).await);
    assert!(
        more.starts_with("And before that:\nJun 17, 2025: Trattoria Roma"),
        "{more}"
    );
}

#[tokio::test]
async fn list_goes_on_after_the_balance_of_another_account() {
    let bot = start(|_| {}).await;
    let mut story = bot.story(SESSION);
    let account = |kind: &str| json!({"user_id": "12345", "account_type": kind});
    story.say("Recent Transactions", account("checking")).await;
    let balance = text(&story.say("Get Account Balance", account("savings")).await);
    assert!(balance.contains("$12,050.00"), "{balance}");
    let more = text(&story.say("Recent Transactions - more", json!({})).await);
    assert!(
        more.starts_with("And before that:\nJun 17, 2025: Trattoria Roma"),
        "{more}"
    );
}

#[tokio::test]
async fn second_of_the_offered_times_is_booked_in_the_name_that_was_said_first() {
    let bot = start(|_| {}).await;
    let mut story = bot.story(SESSION);
    let taken = json!({"date_time": "2030-01-07T10:00:00Z", "customer": "Zed", "choice": ""});
    let offered = text(&story.say("Book Appointment", taken).await);
    assert!(offered.starts_with("That time is already taken."), "{offered}");
    let second = json!({"date_time": "", "customer": "", "choice": 2});
    assert_eq!(
        text(&story.say("Book Appointment", second).await),
        "Your appointment is booked for Monday, January 7, 2030 at 11:30 UTC."
    );
    let booked: String =
        sqlx::query_scalar("select customer from appointments where starts_at = '2030-01-07T11:30:00Z'")
            .fetch_one(bot.pool())
            .await
            .unwrap();
    assert_eq!(booked, "Zed");
}

#[tokio::test]
async fn order_that_is_not_named_again_is_the_one_talked_about() {
    let bot = start(|_| {}).await;
    let mut story = bot.story(SESSION);
    story.say("Order Status", json!({"order_number": "10043"})).await;
    for _ in 0..2 {
        let arrival = story.say("Order Status - arrival", json!({"order_number": ""})).await;
        assert_eq!(
            text(&arrival),
            "The delivery date of order 10043 is Friday, June 27, 2025."
        );
    }
}
