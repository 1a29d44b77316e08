//! The sender: takes what is due out of the outbox and sends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use chrono::TimeDelta;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{Instrument as _, debug, info, info_span, warn};
use url::Url;
use uuid::Uuid;

use super::channel::{self, ChannelsInForce, MAX_TIMEOUT_MS};
use super::decision::State;
use super::outbox::{self, Became, CALL, CHAT, CallBody, Due, HttpCall, MessageBody};
use super::webhook::{Outcome, Request, Webhooks};
use super::{Conversation, chat};
use crate::attempts::Attempts;
use crate::breakers::Breakers;
use crate::session::session_id;
use crate::telemetry::traces;

/// How often the outbox is looked at when nobody says that there is something in it.
const POLL: Duration = Duration::from_secs(1);

/// So many requests are under way at a time.
const PLACES: usize = 32;

/// How long a host that fails is left alone; as its breaker does.
const REST: TimeDelta = TimeDelta::seconds(5);

/// For how long a row is taken: longer than any request, so that nobody else sends it meanwhile.
const LEASE: TimeDelta = TimeDelta::milliseconds(2 * MAX_TIMEOUT_MS as i64);

/// Sends until it is dropped. Several may run, in one process or more: each row is taken by one of them.
#[derive(Clone)]
pub(crate) struct Sender {
    conversation: Arc<Conversation>,
    channels: ChannelsInForce,
    webhooks: Webhooks,
}

/// One or more rows that go out as one request.
struct Delivery {
    ids: Vec<Uuid>,
    first: Due,
    texts: Vec<String>,
    message: MessageBody,
}

impl Sender {
    /// A sender for the outbox of `conversation`, to the channels that are in force; `breakers` may be shared.
    ///
    /// # Errors
    /// When a channel has no secret, or TLS cannot be set up.
    pub(crate) fn new(
        conversation: Arc<Conversation>,
        channels: ChannelsInForce,
        breakers: Breakers,
    ) -> anyhow::Result<Self> {
        if let Some((name, wrong)) = channels().without_secret().next() {
            bail!("channel {name}: {wrong}");
        }
        Ok(Self {
            webhooks: Webhooks::new(breakers, conversation.clock.clone())?,
            conversation,
            channels,
        })
    }

    /// Sends what becomes due; runs until dropped.
    pub(crate) async fn run(self) {
        let mut requests = JoinSet::new();
        let mut came_back = Vec::new();
        let mut is_woken = true;
        // Also while requests come back without a pause.
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(done) = requests.try_join_next() {
                came_back.extend(done);
            }
            let settled = self.settle(std::mem::take(&mut came_back));
            if let Err(error) = self.conversation.database.within(settled).await {
                warn!(error = %error, "what came of requests cannot be written; they may be sent once more");
            }
            let sent = self.send_due(&mut requests, is_woken);
            if let Err(error) = self.conversation.database.within(sent).await {
                info!(error = %error, "outbox cannot be read; trying again");
                tokio::time::sleep(POLL).await;
            }
            is_woken = tokio::select! {
                () = self.conversation.outbox_filled.notified() => true,
                _ = poll.tick() => true,
                Some(done) = requests.join_next() => {
                    came_back.extend(done);
                    false
                }
            };
        }
    }

    /// Writes what came of the requests that have come back together.
    async fn settle(&self, came_back: Vec<Vec<(Uuid, Became)>>) -> sqlx::Result<()> {
        let conversation = &self.conversation;
        let now = conversation.clock.now();
        outbox::settle(conversation.database.conversations(), &came_back.concat(), now).await
    }

    /// Says what is due, and sends as many requests as there are places for. Where `is_woken` is false a request has come
    /// back, and only the next ones are sought.
    async fn send_due(&self, requests: &mut JoinSet<Vec<(Uuid, Became)>>, is_woken: bool) -> sqlx::Result<()> {
        let conversation = &self.conversation;
        let pool = conversation.database.conversations();
        if is_woken {
            let due = outbox::is_due(pool, conversation.clock.now()).await?;
            let mut more = due.chat;
            while more {
                let sent;
                (sent, more) = chat::send(pool, conversation.clock.now()).await?;
                conversation.metrics.notified(CHAT, State::Sent.as_str(), sent);
            }
            if !due.requests {
                return Ok(());
            }
        }
        let free = PLACES.saturating_sub(requests.len());
        if free == 0 {
            return Ok(());
        }
        let now = conversation.clock.now();
        for delivery in deliveries(outbox::lease(pool, now, now + LEASE, free as i64).await?) {
            let sender = self.clone();
            let span = info_span!(
                "send",
                outbox.id = %delivery.first.id,
                channel = delivery.first.channel,
                event.id = delivery.message.event_id,
                event.type = delivery.message.event_type,
                entity.id = delivery.message.entity_id,
                session.id = delivery.first.session.as_deref().map(session_id),
                traceparent = delivery.first.traceparent,
            );
            traces::follow(&span, || delivery.first.traceparent.as_deref());
            requests.spawn(async move { sender.send(delivery).await }.instrument(span));
        }
        Ok(())
    }

    /// Sends one request, and says what became of its rows.
    async fn send(&self, delivery: Delivery) -> Vec<(Uuid, Became)> {
        let conversation = &self.conversation;
        let outcome = match self.request(&delivery) {
            Ok(request) => self.webhooks.send(request, conversation.clock.now()).await,
            Err(outcome) => outcome,
        };
        let (now, attempts) = (conversation.clock.now(), delivery.first.attempts);
        let became = match outcome {
            Outcome::Sent => {
                debug!("sent");
                self.count(&delivery, State::Sent);
                Became::Sent
            }
            Outcome::Resting => Became::Again {
                attempts: attempts - 1,
                due_at: now + REST,
            },
            Outcome::Retry { after, reason } if !Attempts::OF_A_REQUEST.are_over(attempts) => {
                let wait = Attempts::wait_after(attempts).max(after.unwrap_or_default());
                debug!(reason, wait_ms = wait.as_millis(), "not sent; trying again");
                let due_at = now + TimeDelta::from_std(wait).unwrap_or(REST);
                Became::Again { attempts, due_at }
            }
            Outcome::Failed(reason) | Outcome::Retry { reason, .. } => {
                warn!(reason, attempts, "not sent, and given up");
                self.count(&delivery, State::Failed);
                Became::Failed(reason)
            }
        };
        delivery.ids.into_iter().map(|id| (id, became.clone())).collect()
    }

    fn count(&self, delivery: &Delivery, state: State) {
        let channels = (self.channels)();
        let channel = match delivery.first.channel.as_str() {
            CALL => CALL,
            name if channels.get(name).is_some() => name,
            _ => "(unknown)",
        };
        self.conversation.metrics.notified(channel, state.as_str(), 1);
    }

    fn request<'a>(&self, delivery: &'a Delivery) -> Result<Request<'a>, Outcome> {
        let first = &delivery.first;
        if first.channel == CALL {
            return call(first);
        }
        let channels = (self.channels)();
        let Some(channel) = channels.get(&first.channel) else {
            let reason = format!("found channel {:?}, expected one of events/channels", first.channel);
            return Err(Outcome::Retry { after: None, reason });
        };
        let body = json!({
            "id": first.id.to_string(),
            "type": "notification",
            "topic": first.topic,
            "text": delivery.texts.join("\n"),
            "user_id": first.user_id,
            "session": first.session,
            "event_id": delivery.message.event_id,
            "event_type": delivery.message.event_type,
            "entity_id": delivery.message.entity_id,
        });
        Ok(Request {
            id: first.id,
            method: Method::POST,
            url: channel.url.clone(),
            headers: HeaderMap::new(),
            body: body.to_string().into_bytes(),
            secrets: signed_with(channel.secret_env.as_deref())?,
            oauth: channel.oauth.clone(),
            timeout: channel.timeout,
            allow_private: channel.allow_private,
            traceparent: first.traceparent.as_deref(),
        })
    }
}

/// The request of a rule's call.
fn call(row: &Due) -> Result<Request<'_>, Outcome> {
    let failed = |reason: String| Outcome::Failed(reason);
    let CallBody { call, .. } = serde_json::from_value::<CallBody<HttpCall>>(row.body.clone())
        .map_err(|error| failed(format!("the call cannot be read: {error}")))?;
    let url = Url::parse(&call.url).map_err(|error| failed(format!("the call's URL: {error}")))?;
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| {
        failed(format!(
            "found method {:?}, expected POST, PUT, PATCH or DELETE",
            call.method
        ))
    })?;
    Ok(Request {
        id: row.id,
        method,
        url,
        headers: headers(&call.headers).map_err(failed)?,
        body: call.body.to_string().into_bytes(),
        secrets: signed_with(call.secret_env.as_deref())?,
        oauth: call.oauth,
        timeout: Duration::from_millis(MAX_TIMEOUT_MS),
        allow_private: call.allow_private,
        traceparent: row.traceparent.as_deref(),
    })
}

fn headers(headers: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let read = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            read.ok_or_else(|| format!("header {name:?} cannot be sent"))
        })
        .collect()
}

/// The secrets of a variable, if there is one; what is missing now may be there later.
fn signed_with(variable: Option<&str>) -> Result<Vec<Vec<u8>>, Outcome> {
    let secrets = variable.map(channel::secrets).transpose();
    let secrets = secrets.map_err(|reason| Outcome::Retry { after: None, reason })?;
    Ok(secrets.unwrap_or_default())
}

/// What is gathered for a digest goes out as one.
fn deliveries(due: Vec<Due>) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(due.len());
    for row in due {
        let message = match row.channel.as_str() {
            CALL => MessageBody::of_call(&row.body),
            _ => serde_json::from_value(row.body.clone()).unwrap_or_default(),
        };
        let same = |other: &&mut Delivery| {
            let first = &other.first;
            first.is_digest
                && (&first.channel, &first.user_id, &first.session, first.attempts)
                    == (&row.channel, &row.user_id, &row.session, row.attempts)
        };
        match deliveries.iter_mut().find(same).filter(|_| row.is_digest) {
            Some(digest) => {
                digest.ids.push(row.id);
                digest.texts.push(message.text);
            }
            None => deliveries.push(Delivery {
                ids: vec![row.id],
                texts: vec![message.text.clone()],
                first: row,
                message,
            }),
        }
    }
    deliveries
}

impl MessageBody {
    /// Of a call only the event is told in logs.
    fn of_call(body: &Value) -> Self {
        let told = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self {
            text: String::new(),
            event_id: told("event_id"),
            event_type: told("event_type"),
            entity_id: told("entity_id"),
        }
    }
}
