//! What receivers get: once, signed, again when they were down, and nothing at private addresses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{SESSION, Stage, ada, eventually, notify, read_of_outbox};
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::conversation::outbox::HttpCall;
use crate::conversation::outbox::{self, Became};
use crate::conversation::{Conversation, Sender, chat};
use crate::reactions::effects::Effect;
use crate::reactions::effects::call::Call;
use crate::rulebook::Rulebook;
use crate::source::Surroundings;
use crate::telemetry::Metrics;

/// `PATH` is there wherever tests run, and serves as a secret as well as any.
const SECRET_ENV: &str = "PATH";

fn surroundings() -> Surroundings {
    Surroundings::new(Clock::system()).unwrap()
}

impl Stage {
    /// A sender that runs until the set is dropped, with a channel `crm` at `url`.
    fn sender(&self, running: &mut JoinSet<()>, url: &str) {
        self.run_sender(running, Arc::clone(&self.conversation), url);
    }

    fn run_sender(&self, running: &mut JoinSet<()>, conversation: Arc<Conversation>, url: &str) {
        let dir = tempfile::tempdir().unwrap();
        channel(dir.path(), "crm", url);
        let rulebook = Rulebook::load(dir.path(), &[], &surroundings()).unwrap();
        let sender = Sender::new(conversation, Arc::new(rulebook).channels(), Breakers::default()).unwrap();
        running.spawn(sender.run());
    }

    async fn state(&self) -> (String, i32, Option<String>) {
        sqlx::query_as("select state, attempts, reason from rejoinder.outbox order by position limit 1")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }
}

/// Writes a channel's file.
fn channel(events_dir: &Path, name: &str, url: &str) {
    let file = format!("url = \"{url}\"\nsecret_env = \"{SECRET_ENV}\"\nallow_private = true\n");
    std::fs::create_dir_all(events_dir.join("channels")).unwrap();
    std::fs::write(events_dir.join(format!("channels/{name}.toml")), file).unwrap();
}

async fn receiver(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

fn call(url: &str, allow_private: bool) -> Effect {
    Effect::Call(Call(HttpCall {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: BTreeMap::from([
            ("x-tenant".to_owned(), "shop".to_owned()),
            ("content-type".to_owned(), "application/vnd.shop+json".to_owned()),
        ]),
        body: json!({"order": "10042"}),
        secret_env: Some(SECRET_ENV.to_owned()),
        oauth: None,
        allow_private,
    }))
}

#[tokio::test]
async fn webhook_is_signed_as_the_standard_says() {
    let stage = Stage::set().await.with_ada().await;
    let crm = receiver(ResponseTemplate::new(204)).await;
    stage.apply(1, &[notify(ada(), "crm", "shipped")]).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &crm.uri());
    eventually("it is sent", async || stage.state().await.0 == "sent").await;
    let requests = crm.received_requests().await.unwrap();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let header = |name| request.headers.get(name).unwrap().to_str().unwrap();
    let id: Uuid = sqlx::query_scalar("select id from rejoinder.outbox")
        .fetch_one(stage.pool())
        .await
        .unwrap();
    assert_eq!(header("webhook-id"), id.to_string());
    let timestamp = stage.clock.now().timestamp();
    assert_eq!(header("webhook-timestamp"), timestamp.to_string());
    let secret = crate::config::variable(SECRET_ENV).unwrap();
    let theirs = standardwebhooks::Webhook::from_bytes(secret.into_bytes()).unwrap();
    assert_eq!(
        header("webhook-signature"),
        theirs.sign(&id.to_string(), timestamp, &request.body).unwrap()
    );
    assert_eq!(
        header("traceparent"),
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"id": id.to_string(), "type": "notification", "topic": "orders", "text": "shipped", "user_id": "ada",
            "session": null, "event_id": "evt-1", "event_type": "order.shipped", "entity_id": "10042"})
    );
}

#[tokio::test]
async fn channel_whose_file_is_new_or_changed_is_used_without_a_restart() {
    let stage = Stage::set().await.with_ada().await;
    let (old, new) = (
        receiver(ResponseTemplate::new(204)).await,
        receiver(ResponseTemplate::new(204)).await,
    );
    let dir = tempfile::tempdir().unwrap();
    channel(dir.path(), "crm", &old.uri());
    let rulebook = Arc::new(Rulebook::load(dir.path(), &[], &surroundings()).unwrap());
    let conversation = Arc::clone(&stage.conversation);
    let sender = Sender::new(conversation, rulebook.channels(), Breakers::default()).unwrap();
    let mut running = JoinSet::new();
    running.spawn(sender.run());
    channel(dir.path(), "crm", &new.uri());
    channel(dir.path(), "sms", &new.uri());
    rulebook.reload_if_changed();
    stage
        .apply(1, &[notify(ada(), "crm", "shipped"), notify(ada(), "sms", "shipped")])
        .await;
    let sent = "select count(*) from rejoinder.outbox where state = 'sent'";
    eventually("both are sent", async || stage.count(sent).await == 2).await;
    assert_eq!(old.received_requests().await.unwrap().len(), 0);
    assert_eq!(new.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn receiver_that_is_gone_is_not_tried_again() {
    let stage = Stage::set().await.with_ada().await;
    let crm = receiver(ResponseTemplate::new(410)).await;
    stage.apply(1, &[notify(ada(), "crm", "shipped")]).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &crm.uri());
    eventually("it is given up", async || stage.state().await.0 == "failed").await;
    assert_eq!(
        stage.state().await,
        ("failed".to_owned(), 1, Some("status 410".to_owned()))
    );
    let audited = "select count(*) from rejoinder.event_audit where action = 'failed' and position = 1";
    assert_eq!(stage.count(audited).await, 1);
}

#[tokio::test]
async fn receiver_that_is_busy_is_tried_again_when_it_says() {
    let stage = Stage::set().await;
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "120");
    Mock::given(method("POST"))
        .respond_with(busy)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    stage.apply(1, &[call(&server.uri(), true)]).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &server.uri());
    // Whoever takes a row puts its time off first; this is the time after the refusal.
    let waits = "select count(*) from rejoinder.outbox where attempts = 1 and due_at >= '2026-09-21T12:02:00Z'";
    eventually("it waits", async || stage.count(waits).await == 1).await;
    stage.clock.advance(TimeDelta::seconds(121));
    eventually("it is sent", async || stage.state().await.0 == "sent").await;
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].headers["webhook-id"], requests[1].headers["webhook-id"]);
    assert_ne!(
        requests[0].headers["webhook-timestamp"],
        requests[1].headers["webhook-timestamp"]
    );
    assert_eq!(requests[0].headers["x-tenant"], "shop");
    let types: Vec<_> = requests[0].headers.get_all("content-type").iter().collect();
    assert_eq!(types, ["application/vnd.shop+json"]);
    assert_eq!(requests[0].body, requests[1].body);
}

#[tokio::test]
async fn eighth_failure_is_the_last() {
    let stage = Stage::set().await;
    let server = receiver(ResponseTemplate::new(500)).await;
    stage.apply(1, &[call(&server.uri(), true)]).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &server.uri());
    for failures in 1..8 {
        let leased_until = stage.clock.now() + TimeDelta::minutes(1);
        eventually("it waits for the next attempt", async || {
            let row = sqlx::query_as("select attempts, due_at from rejoinder.outbox").fetch_one(stage.pool());
            let (attempts, due_at): (i32, DateTime<Utc>) = row.await.unwrap();
            attempts == failures && due_at != leased_until
        })
        .await;
        stage.clock.advance(TimeDelta::minutes(5));
        stage.conversation.wake();
    }
    eventually("it is given up", async || stage.state().await.0 == "failed").await;
    assert_eq!(
        stage.state().await,
        ("failed".to_owned(), 8, Some("status 500".to_owned()))
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 8);
}

#[tokio::test]
async fn private_address_is_not_called_and_no_redirect_leads_to_one() {
    let stage = Stage::set().await;
    let inside = receiver(ResponseTemplate::new(200)).await;
    let outside = receiver(ResponseTemplate::new(302).insert_header("location", inside.uri())).await;
    let by_name = inside.uri().replace("127.0.0.1", "localhost");
    stage.apply(1, &[call(&inside.uri(), false)]).await;
    stage.apply(2, &[call(&by_name, false)]).await;
    stage.apply(3, &[call(&outside.uri(), true)]).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &inside.uri());
    let tried = "select count(*) from rejoinder.outbox where state = 'failed'
        or (attempts = 1 and due_at < '2026-09-21T12:00:30Z')";
    eventually("all are tried", async || stage.count(tried).await == 3).await;
    assert_eq!(stage.state().await.2.as_deref(), Some("127.0.0.1 is no public address"));
    assert_eq!(outside.received_requests().await.unwrap().len(), 1);
    assert_eq!(inside.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn several_senders_send_each_message_once_and_a_reader_skips_none() {
    let stage = Stage::set().await.with_ada().await;
    stage
        .sql("insert into rejoinder.preferences (user_id, per_hour) values ('ada', 1000)")
        .await;
    let crm = receiver(ResponseTemplate::new(200)).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &crm.uri());
    for _ in 0..2 {
        let replica = Conversation::new(stage.database.clone(), stage.clock.clone(), Metrics::default());
        stage.run_sender(&mut running, replica, &crm.uri());
    }
    let told = async {
        for position in 1..=100 {
            let text = position.to_string();
            stage
                .apply(position, &[notify(ada(), "chat", &text), notify(ada(), "crm", &text)])
                .await;
        }
    };
    let mut read = Vec::new();
    let reading = async {
        eventually("all are read", async || {
            let last = read.last().map_or(0, |message: &chat::ChatMessage| message.position);
            read.extend(chat::after(stage.pool(), SESSION, last, 10).await.unwrap());
            read.len() >= 100
        })
        .await;
    };
    futures_util::future::join(told, reading).await;
    let mut texts: Vec<i64> = read.iter().map(|message| message.text.parse().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, (1..=100).collect::<Vec<_>>());
    let sent = "select count(*) from rejoinder.outbox where state = 'sent'";
    eventually("all are sent", async || stage.count(sent).await == 200).await;
    let requests = crm.received_requests().await.unwrap();
    let mut ids: Vec<_> = requests
        .iter()
        .map(|request| request.headers["webhook-id"].clone())
        .collect();
    ids.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    ids.dedup();
    assert_eq!((requests.len(), ids.len()), (100, 100));
}

#[tokio::test]
async fn message_of_a_later_position_is_not_seen_before_an_earlier_one() {
    let stage = Stage::set().await.with_ada().await;
    stage.apply(1, &[notify(ada(), "chat", "second")]).await;
    let mut first = stage.pool().begin().await.unwrap();
    sqlx::raw_sql(
        "select pg_advisory_xact_lock(hashtext('rejoinder chat'));
         insert into rejoinder.chat_messages (position, id, session, text, event_id, sent_at) values
             (nextval('rejoinder.chat_positions'), gen_random_uuid(), 'projects/p/agent/sessions/ada', 'first', 'e', now())",
    )
    .execute(&mut *first)
    .await
    .unwrap();
    let (pool, now) = (stage.pool().clone(), stage.clock.now());
    let second = tokio::spawn(async move { chat::send(&pool, now).await });
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())";
    eventually("the second waits for the first", async || stage.count(waits).await == 1).await;
    assert_eq!(chat::after(stage.pool(), SESSION, 0, 10).await.unwrap().len(), 0);
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    let texts = chat::after(stage.pool(), SESSION, 0, 10).await.unwrap();
    assert_eq!(
        texts.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(),
        ["first", "second"]
    );
}

/// The plan of the statement that the connection has prepared last, run with these arguments and rolled back.
async fn plan(connection: &mut PgConnection, begins: &str, arguments: &str) -> String {
    let prepared =
        "select name from pg_prepared_statements where statement like $1 || '%' order by prepare_time desc limit 1";
    let name: String = sqlx::query_scalar(prepared)
        .bind(begins)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let explain = format!("explain (analyze, buffers) execute {name} ({arguments})");
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    lines.join("\n")
}

/// A table whose statistics say that it is empty, with 20,000 calls that wait and no message.
async fn backlog() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(
            "alter table rejoinder.outbox set (autovacuum_enabled = off);
             analyze rejoinder.outbox;
             insert into rejoinder.outbox (id, position, rule, channel, body, state, due_at, created_at)
                 select gen_random_uuid(), n, 'r', 'call', '{}', 'pending', '2026-09-21T12:00:00Z', '2026-09-21T12:00:00Z'
                 from generate_series(1, 20000) n",
        )
        .await;
    stage
}

#[tokio::test]
async fn what_came_of_calls_is_written_without_reading_the_backlog() {
    let stage = backlog().await;
    let now = stage.clock.now();
    let mut transaction = stage.pool().begin().await.unwrap();
    let due = outbox::lease(&mut *transaction, now, now + TimeDelta::minutes(1), 30)
        .await
        .unwrap();
    assert!(read_of_outbox(&mut transaction).await <= 100, "to take 30");
    let became = |at: usize| match at % 3 {
        0 => Became::Sent,
        1 => Became::Again {
            attempts: 1,
            due_at: now,
        },
        _ => Became::Failed("status 410".to_owned()),
    };
    let rows: Vec<(Uuid, Became)> = due.iter().enumerate().map(|(at, row)| (row.id, became(at))).collect();
    let before = read_of_outbox(&mut transaction).await;
    outbox::settle(&mut *transaction, &rows, now).await.unwrap();
    let read = read_of_outbox(&mut transaction).await - before;
    assert!(read <= 60, "{read} rows were read to write 30");
    let states: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from rejoinder.outbox where attempts = 1 group by state order by state")
            .fetch_all(&mut *transaction)
            .await
            .unwrap();
    let ten = |state: &str| (state.to_owned(), 10);
    assert_eq!(states, [ten("failed"), ten("pending"), ten("sent")]);
    let audited: i64 = sqlx::query_scalar("select count(*) from rejoinder.event_audit where action = 'failed'")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(audited, 10);
    // As the planner sees it, with and without the values.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        sqlx::query(AssertSqlSafe(format!("set local plan_cache_mode = {mode}")))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let arguments = format!(
            "array['{}']::uuid[], array['sent'], array[null]::text[], array[null]::integer[], array[null]::timestamptz[], now()",
            due[1].id
        );
        let plan = plan(&mut transaction, "with settled as", &arguments).await;
        assert!(plan.contains("outbox_pkey"), "{plan}");
        let buffers = plan.split_once("shared hit=").unwrap().1;
        let buffers: String = buffers.chars().take_while(char::is_ascii_digit).collect();
        assert!(buffers.parse::<u32>().unwrap() < 60, "{plan}");
    }
}

#[tokio::test]
async fn message_is_found_behind_a_backlog_of_calls() {
    let stage = backlog().await.with_ada().await;
    stage.apply(20_001, &[notify(ada(), "chat", "shipped")]).await;
    let mut transaction = stage.pool().begin().await.unwrap();
    let (now, before) = (stage.clock.now(), read_of_outbox(&mut transaction).await);
    assert!(outbox::is_due(&mut *transaction, now).await.unwrap().chat);
    assert_eq!(outbox::due_chat(&mut *transaction, now, 500).await.unwrap().len(), 1);
    let read = read_of_outbox(&mut transaction).await - before;
    assert!(read <= 10, "{read} rows were read to find one");
}

#[tokio::test]
async fn calls_that_come_back_together_are_written_together() {
    let stage = Stage::set().await;
    let server = receiver(ResponseTemplate::new(200).set_delay(Duration::from_millis(100))).await;
    let calls: Vec<Effect> = (0..160).map(|_| call(&server.uri(), true)).collect();
    stage.apply(1, &calls).await;
    let mut running = JoinSet::new();
    stage.sender(&mut running, &server.uri());
    let sent = "select count(*) from rejoinder.outbox where state = 'sent'";
    eventually("all are sent", async || stage.count(sent).await == 160).await;
    let transactions = stage
        .count("select count(distinct xmin::text) from rejoinder.outbox")
        .await;
    assert!(transactions <= 80, "{transactions} transactions for 160 calls");
    assert_eq!(server.received_requests().await.unwrap().len(), 160);
}
