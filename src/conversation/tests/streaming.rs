//! The stream, as a chat window reads it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SESSION, ada, applied, eventually, notify};
use crate::bot::Bot;
use crate::conversation::recipient::Recipient;
use crate::reactions::effects::after_commit;
use crate::testing::TestBot;

/// A chat window that is open.
struct Window {
    response: reqwest::Response,
    text: String,
}

impl Window {
    async fn open(bot: &TestBot, session: &str, last_event_id: Option<&str>) -> Self {
        let mut request = bot.http().get(bot.url(&format!("/conversations/{session}/stream")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let mut window = Self {
            response,
            text: String::new(),
        };
        assert_eq!(window.next().await.unwrap(), "retry: 2000");
        window
    }

    /// The next block of lines; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await;
            match chunk.expect("something within 10 s") {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The id and the data of the next message.
    async fn message(&mut self) -> (String, Value) {
        let block = self.next().await.unwrap();
        let lines: Vec<&str> = block.lines().collect();
        let [id, "event: message", data] = lines.as_slice() else {
            panic!("{block}")
        };
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (id.strip_prefix("id: ").unwrap().to_owned(), data)
    }
}

async fn with_ada() -> TestBot {
    // A directory with no rules: the service sends all the same.
    let bot = TestBot::start_with(Bot::new(), |settings| {
        settings.events.events_dir = "tests/fixtures".into();
        settings.events.events_pool_size = 2;
    })
    .await;
    sqlx::raw_sql(
        "insert into rejoinder.conversations (session, user_id, seen_at) values ('projects/p/agent/sessions/ada', 'ada', now());
         insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) values ('ada', 'orders', true, now())",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    bot
}

async fn tell(bot: &TestBot, position: i64, text: &str) {
    let done = applied(bot.pool(), bot.clock().now(), position, &[notify(ada(), "chat", text)]).await;
    bot.conversation().committed(&after_commit(&done)).await;
}

#[tokio::test]
async fn window_goes_on_where_it_was_at_another_replica() {
    let one = with_ada().await;
    let two = TestBot::start_with(Bot::new(), |settings| settings.database = Some(one.database())).await;
    let mut here = Window::open(&one, SESSION, None).await;
    let mut there = Window::open(&two, &SESSION.replace('/', "%2F"), None).await;
    tell(&one, 1, "shipped").await;
    let (id, first) = here.message().await;
    assert_eq!(there.message().await, (id.clone(), first.clone()));
    assert_eq!(first["text"], "shipped");
    assert_eq!(first["topic"], "orders");
    assert_eq!(first["event_id"], "evt-1");
    drop(here);
    tell(&one, 2, "out for delivery").await;
    tell(&two, 3, "delivered").await;
    assert_eq!(there.message().await.1["text"], "out for delivery");
    let mut again = Window::open(&two, SESSION, Some(&id)).await;
    assert_eq!(again.message().await.1["text"], "out for delivery");
    assert_eq!(again.message().await.1["text"], "delivered");
    let by_query = format!("/conversations/{SESSION}/stream?last_event_id=0");
    let mut by_query = one.http().get(one.url(&by_query)).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("delivered\"") {
        text.push_str(std::str::from_utf8(&by_query.chunk().await.unwrap().unwrap()).unwrap());
    }
    // Of another conversation nothing is heard.
    assert_eq!(text.matches("event: message").count(), 3);
}

#[tokio::test]
async fn more_than_is_read_at_once_comes_in_order() {
    let bot = with_ada().await;
    sqlx::raw_sql(
        "insert into rejoinder.chat_messages (position, id, session, text, event_id, sent_at)
         select nextval('rejoinder.chat_positions'), gen_random_uuid(), 'projects/p/agent/sessions/ada', n::text, 'e', now()
         from generate_series(1, 250) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    let mut window = Window::open(&bot, SESSION, Some("0")).await;
    for number in 1..=250 {
        assert_eq!(window.message().await.1["text"], number.to_string());
    }
}

#[tokio::test]
async fn lock_on_a_table_of_events_keeps_nothing_from_being_heard() {
    let bot = with_ada().await;
    let mut window = Window::open(&bot, SESSION, None).await;
    let mut lock = bot.pool().begin().await.unwrap();
    sqlx::query("lock table rejoinder.event_log")
        .execute(&mut *lock)
        .await
        .unwrap();
    eventually("all connections of events wait for it", async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                 and application_name = 'rejoinder events'",
        )
        .fetch_one(bot.pool())
        .await
        .unwrap();
        waiting == 2
    })
    .await;
    tell(&bot, 1, "shipped").await;
    let (id, message) = window.message().await;
    assert_eq!(message["text"], "shipped");
    tell(&bot, 2, "delivered").await;
    let mut again = Window::open(&bot, SESSION, Some(&id)).await;
    assert_eq!(again.message().await.1["text"], "delivered");
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn stop_of_the_service_ends_open_streams_at_once() {
    let bot = with_ada().await;
    let mut window = Window::open(&bot, SESSION, None).await;
    let scraped = async || {
        let scrape = bot.http().get(bot.url("/metrics")).send().await.unwrap();
        scrape.text().await.unwrap()
    };
    eventually("it is counted", async || {
        scraped().await.contains("rejoinder_streams_open 1")
    })
    .await;
    let began = Instant::now();
    bot.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert_eq!(window.next().await, None);
}

#[tokio::test]
async fn what_is_no_session_and_no_event_id_is_told_so() {
    let bot = TestBot::start(Bot::new()).await;
    let get = async |path: &str| {
        let answer = bot.http().get(bot.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, body) = get("/conversations/ada/stream").await;
    assert_eq!((status, &body["error"]["code"]), (400, &"bad_session".into()));
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.contains("projects/…/agent/sessions/…"), "{text}");
    let (status, body) = get(&format!("/conversations/{SESSION}/stream?last_event_id=x")).await;
    assert_eq!((status, &body["error"]["code"]), (400, &"bad_event_id".into()));
}

#[tokio::test]
async fn what_became_of_messages_is_counted() {
    let bot = with_ada().await;
    tell(&bot, 1, "shipped").await;
    let other = notify(Recipient::User("bob".to_owned()), "chat", "shipped");
    let done = applied(bot.pool(), bot.clock().now(), 2, &[other]).await;
    bot.conversation().committed(&after_commit(&done)).await;
    eventually("both are counted", async || {
        let scrape = bot.http().get(bot.url("/metrics")).send().await.unwrap();
        let text = scrape.text().await.unwrap();
        ["sent", "suppressed"].iter().all(|outcome| {
            let line = format!("rejoinder_notifications_total{{channel=\"chat\",outcome=\"{outcome}\"}} 1");
            text.contains(&line)
        })
    })
    .await;
}
