//! Events of a bot under test: sent as a source signs them, waited for, and heard in the chat window.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::TestBot;
use crate::running::{Said, Stream};

/// How long the kit waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// The open stream of a chat window.
#[derive(Debug)]
pub struct ChatStream(Stream);

impl TestBot {
    /// An event in the form that the source `generic` takes: a new id, the clock's time, the newest version of its type.
    pub fn envelope(&self, event_type: &str, entity: &str, payload: &Value) -> Value {
        let reception = self.service.reception().expect("a directory of events");
        let version = reception.rulebook.edition().catalogue.latest(event_type);
        json!({
            "event_id": Uuid::new_v4().to_string(),
            "event_type": event_type,
            "timestamp": self.clock.now(),
            "entity_id": entity,
            "schema_version": version.unwrap_or(1),
            "payload": payload,
        })
    }

    /// Sends an event as the source `generic`: the status, and what the sender is told.
    pub async fn send(&self, event_type: &str, entity: &str, payload: Value) -> (u16, Value) {
        self.post_event("generic", &self.envelope(event_type, entity, &payload))
            .await
    }

    /// Posts an event, or an array of them, as a source that signs as Standard Webhooks.
    pub async fn post_event(&self, source: &str, event: &Value) -> (u16, Value) {
        let request = self.signed(source, event.to_string());
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("the answer's body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A request to `/events/{source}` with a body of JSON, signed as Standard Webhooks at the clock's time.
    pub fn signed(&self, source: &str, body: impl Into<Bytes>) -> RequestBuilder {
        let body = body.into();
        let reception = self.service.reception().expect("a directory of events");
        let edition = reception.rulebook.edition();
        let signer = edition.sources.get(source).expect("the source");
        let id = Uuid::new_v4().to_string();
        let signature = signer
            .sign(&id, self.clock.now(), &body)
            .expect("a secret to sign with");
        let request = self.http.post(self.url(&format!("/events/{source}")));
        let request = request.header("content-type", "application/json");
        let signed = signature
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        signed.body(body)
    }

    /// Waits until everything that is due by the clock is done: events, retries, joins and messages.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn events_applied(&self) {
        let patience = Instant::now() + PATIENCE;
        while self.has_work().await {
            assert!(Instant::now() < patience, "events or messages are still due");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn has_work(&self) -> bool {
        sqlx::query_scalar(
            "select exists (select from rejoinder.event_log l where l.position > coalesce(
                    (select max(c.position) from rejoinder.event_cursors c where c.partition = l.partition), 0))
                or exists (select from rejoinder.parked_events where retry_at <= $1)
                or exists (select from rejoinder.event_joins where state = 'open' and deadline <= $1)
                or exists (select from rejoinder.outbox where state in ('pending', 'held') and due_at <= $1)",
        )
        .bind(self.clock.now())
        .fetch_one(self.pool())
        .await
        .expect("what is due")
    }

    /// Opens the chat window of a session: it hears what is said from now on.
    pub async fn stream(&self, session: &str) -> ChatStream {
        self.open(session, None).await
    }

    /// Opens it again, after the message with this id of the stream.
    pub async fn stream_after(&self, session: &str, stream_id: &str) -> ChatStream {
        self.open(session, Some(stream_id)).await
    }

    async fn open(&self, session: &str, last_event_id: Option<&str>) -> ChatStream {
        let mut request = self.http.get(self.url(&format!("/conversations/{session}/stream")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "the stream is refused");
        ChatStream::from(response)
    }
}

impl From<Response> for ChatStream {
    /// The stream that a service under test answers with.
    fn from(response: Response) -> Self {
        Self(Stream::from(response))
    }
}

impl ChatStream {
    /// The next message.
    ///
    /// # Panics
    /// When none comes in time, or the stream ends.
    pub async fn next(&mut self) -> Said {
        let said = timeout(PATIENCE, self.0.next()).await.expect("a message in time");
        said.expect("a stream that goes on")
    }
}
