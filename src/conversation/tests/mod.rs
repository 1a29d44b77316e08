//! What reactions do to conversations, as users, receivers and the tables see it.

mod applying;
mod authorizing;
mod forgetting;
mod moving;
mod sending;
mod streaming;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool};

use super::Conversation;
use crate::clock::Clock;
use crate::config::NotificationSettings;
use crate::conversation::recipient::Recipient;
use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::payload::Payload;
use crate::log::Logged;
use crate::postgres::{ConnectSettings, Database, SILENCE};
use crate::reactions::effects::notify::Notify;
use crate::reactions::effects::{Done, Effect, Made, after_commit, write};
use crate::telemetry::Metrics;
use crate::testing::new_database;

pub(super) const SESSION: &str = "projects/p/agent/sessions/ada";

/// A conversation with a database of its own, where nobody sends.
pub(super) struct Stage {
    pub(super) conversation: Arc<Conversation>,
    pub(super) clock: Clock,
    pub(super) database: Database,
}

impl Stage {
    pub(super) async fn set() -> Self {
        let clock = Clock::held(at("2026-09-21T12:00:00Z"));
        let database = Database::connect(ConnectSettings {
            primary: new_database().await,
            replica: None,
            pool_size: 8,
            events_pool_size: 3,
            patience: Duration::from_secs(20),
            silence: SILENCE,
            clock: clock.clone(),
        })
        .await
        .unwrap();
        let conversation = Conversation::new(database.clone(), clock.clone(), Metrics::default());
        Self {
            conversation,
            clock,
            database,
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        self.database.primary()
    }

    pub(super) async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(self.pool()).await.unwrap();
    }

    /// Ada, in one conversation, who wants to hear of orders.
    pub(super) async fn with_ada(self) -> Self {
        self.sql(
            "insert into rejoinder.conversations (session, user_id, seen_at) values ('projects/p/agent/sessions/ada', 'ada', now());
             insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) values ('ada', 'orders', true, now())",
        )
        .await;
        self
    }

    pub(super) async fn apply(&self, position: i64, effects: &[Effect]) -> Vec<Done> {
        let done = applied(self.pool(), self.clock.now(), position, effects).await;
        self.conversation.committed(&after_commit(&done)).await;
        done
    }

    /// The states and reasons in the outbox, in order.
    pub(super) async fn outbox(&self) -> Vec<(String, Option<String>)> {
        sqlx::query_as("select state, reason from rejoinder.outbox order by position, id")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.pool()).await.unwrap()
    }
}

/// Applies the effects of one rule on the event at `position`, and commits.
pub(super) async fn applied(pool: &PgPool, now: DateTime<Utc>, position: i64, effects: &[Effect]) -> Vec<Done> {
    applied_to(pool, now, &logged(position, now), effects).await
}

/// An event at `position`.
pub(super) fn logged(position: i64, now: DateTime<Utc>) -> Logged {
    Logged {
        position: position.into(),
        received_at: now,
        is_erased: false,
        is_named_by_position: false,
        envelope: Envelope {
            source: "shop".into(),
            event_id: Id::stored(format!("evt-{position}")),
            event_type: EventType::stored("order.shipped".to_owned()),
            timestamp: now,
            entity_id: Id::stored("10042".to_owned()),
            user_id: None,
            schema_version: 1,
            payload: Payload::stored(RawValue::from_string("{}".to_owned()).unwrap()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            hops: 0,
        },
    }
}

/// Applies the effects of one rule on the event, and commits.
pub(super) async fn applied_to(pool: &PgPool, now: DateTime<Utc>, event: &Logged, effects: &[Effect]) -> Vec<Done> {
    let mut transaction = pool.begin().await.unwrap();
    let done = applied_in(&mut transaction, now, event, effects).await;
    transaction.commit().await.unwrap();
    done
}

/// Applies them in a transaction.
pub(super) async fn applied_in(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    event: &Logged,
    effects: &[Effect],
) -> Vec<Done> {
    let made: Vec<Made<'_, Effect>> = effects
        .iter()
        .enumerate()
        .map(|(index, effect)| Made {
            event,
            rule: "a rule",
            index,
            effect,
        })
        .collect();
    let settings = NotificationSettings {
        notifications_per_hour: 3,
    };
    write(connection, now, &settings, &made, false).await.unwrap()
}

/// How many rows of the outbox this transaction has read.
pub(super) async fn read_of_outbox(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "select (seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables where relname = 'outbox'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

pub(super) fn notify(to: Recipient, channel: &str, text: &str) -> Effect {
    Effect::Notify(Notify {
        to,
        topic: "orders".to_owned(),
        channel: channel.to_owned(),
        text: text.to_owned(),
    })
}

pub(super) fn ada() -> Recipient {
    Recipient::User("ada".to_owned())
}

pub(super) fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// Waits for what must come true soon, and fails the test if it does not.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < patience, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
