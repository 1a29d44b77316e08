//! Users who ask where an order is, each in a conversation of their own, while something is broken.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::raw_sql;
use tokio::task::JoinSet;

use crate::site::{Site, random};

/// Dialogflow wants an answer within 5 seconds; the rest is for a machine that other tests keep busy. A turn that waits for
/// what is broken takes longer than this.
const LIMIT: Duration = Duration::from_secs(8);

/// How far one question is from the next.
const APART: Duration = Duration::from_millis(100);

/// Those who ask.
pub(crate) struct Users {
    http: reqwest::Client,
    url: String,
}

/// What they were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    asked: u32,
    /// That told where the order is; the others asked for patience, or apologised.
    told: u32,
    longest: Duration,
}

impl Users {
    /// Who ask the service at `url`; there are orders to ask for from now on.
    pub(crate) async fn of(site: &Site, url: &str) -> Self {
        raw_sql(include_str!("../../intents/demo.sql"))
            .execute(&site.pool)
            .await
            .unwrap();
        Self {
            http: reqwest::Client::builder().build().unwrap(),
            url: format!("{url}/fulfillment"),
        }
    }

    /// Asks for so long, at an even pace whatever is answered, and waits for all answers.
    pub(crate) async fn ask(&self, during: Duration) -> Answers {
        let mut turns = JoinSet::new();
        let mut ticks = tokio::time::interval(APART);
        let end = Instant::now() + during;
        while Instant::now() < end {
            ticks.tick().await;
            turns.spawn(turn(self.http.clone(), self.url.clone()));
        }
        let mut answers = Answers::default();
        for (text, took) in turns.join_all().await {
            answers.asked += 1;
            answers.told += u32::from(text.contains("is confirmed and being prepared"));
            answers.longest = answers.longest.max(took);
        }
        answers
    }
}

impl Answers {
    /// All were answered although what is broken was not mended.
    pub(crate) fn were_in_time(&self) {
        assert!(self.longest < LIMIT, "{self}");
    }

    /// All were told where the order is.
    pub(crate) fn told_all(&self) {
        assert_eq!(self.told, self.asked, "{self}");
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, told, longest } = self;
        write!(
            f,
            "{asked} turns, {told} told what was asked for, the longest {longest:?}"
        )
    }
}

/// The text that a user hears, and after how long.
async fn turn(http: reqwest::Client, url: String) -> (String, Duration) {
    let began = Instant::now();
    let number = random(u64::MAX);
    let body = json!({
        "responseId": format!("turn {number}"),
        "session": format!("projects/p/agent/sessions/{number}"),
        "queryResult": {
            "intent": {"displayName": "Order Status"},
            "parameters": {"order_number": "10046"},
            "languageCode": "en",
        },
    });
    let request = http.post(url).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let reply: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (reply["fulfillmentText"].as_str().unwrap().to_owned(), began.elapsed())
}
