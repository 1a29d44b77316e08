//! Those who send events: each event again and again under one id until it is acknowledged, and sometimes once more.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rejoinder::Clock;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::site::{SECRET, random};

/// What senders have sent, and what they were told; shared by all of them.
pub(crate) struct Senders {
    http: reqwest::Client,
    secret: String,
    clock: Clock,
    /// Where services run now.
    urls: Mutex<Vec<String>>,
    acknowledged: Mutex<Vec<String>>,
    pub(crate) figures: Figures,
    over: AtomicBool,
}

/// What was counted on the way.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) stored: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) sent_on_purpose: AtomicU64,
    pub(crate) not_answered: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// An event as it is sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
    body: String,
}

impl Sent {
    pub(crate) fn new(id: String, event_type: &str, entity: &str, payload: &Value) -> Self {
        let envelope = json!({
            "event_id": id, "event_type": event_type, "timestamp": "2026-01-05T10:00:00Z", "entity_id": entity,
            "schema_version": 1, "payload": payload,
        });
        Self {
            id,
            body: envelope.to_string(),
        }
    }

    /// The nth step of an entity.
    pub(crate) fn step(entity: &str, n: u64) -> Self {
        Self::new(format!("{entity}/{n}"), "step.taken", entity, &json!({"n": n}))
    }

    /// Several in one request.
    pub(crate) fn together(events: &[Self]) -> Self {
        let bodies: Vec<&str> = events.iter().map(|event| event.body.as_str()).collect();
        Self {
            id: format!("{} and others", events[0].id),
            body: format!("[{}]", bodies.join(",")),
        }
    }

    /// Half of an order: `paid` or `packed`, of an entity of its own.
    pub(crate) fn half(order: &str, half: &str) -> Self {
        let entity = format!("{half} {order}");
        Self::new(
            entity.clone(),
            &format!("order.{half}"),
            &entity,
            &json!({"order": order}),
        )
    }
}

impl Senders {
    pub(crate) fn new() -> Self {
        Self::by(Clock::system(), SECRET)
    }

    /// Who sign with this secret, and go by this clock.
    pub(crate) fn by(clock: Clock, secret: &str) -> Self {
        Self {
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(12))
                .build()
                .unwrap(),
            secret: secret.to_owned(),
            clock,
            urls: Mutex::default(),
            acknowledged: Mutex::default(),
            figures: Figures::default(),
            over: AtomicBool::new(false),
        }
    }

    /// Where to send to from now on.
    pub(crate) fn aim(&self, urls: impl IntoIterator<Item = String>) {
        *self.urls.lock().unwrap() = urls.into_iter().collect();
    }

    /// Ids of all events that were acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Has those who go on and on end soon.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Sends once.
    pub(crate) async fn post(&self, url: &str, event: &Sent) -> reqwest::Result<reqwest::Response> {
        let now = self.clock.now().timestamp();
        let signer = Webhook::new(&self.secret).unwrap();
        let signature = signer.sign(&event.id, now, event.body.as_bytes()).unwrap();
        let request = self
            .http
            .post(format!("{url}/events/generic"))
            .header("content-type", "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature);
        request.body(event.body.clone()).send().await
    }

    /// Sends until it is acknowledged, to whichever service runs.
    pub(crate) async fn deliver(&self, event: &Sent) {
        let patience = Instant::now() + Duration::from_secs(120);
        loop {
            assert!(Instant::now() < patience, "never acknowledged: {}", event.id);
            let url = {
                let urls = self.urls.lock().unwrap();
                match urls.len() {
                    0 => None,
                    count => Some(urls[random(count as u64) as usize].clone()),
                }
            };
            let answer = match url {
                Some(url) => self.post(&url, event).await.map(|answer| answer.status().as_u16()).ok(),
                None => None,
            };
            let count = match answer {
                Some(202) => &self.figures.stored,
                Some(200) => &self.figures.duplicates,
                Some(429 | 503) => &self.figures.refused,
                Some(status) => panic!("{} was answered {status}", event.id),
                None => &self.figures.not_answered,
            };
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(200 | 202) = answer {
                self.acknowledged.lock().unwrap().push(event.id.clone());
                return;
            }
            tokio::time::sleep(Duration::from_millis(10 + random(40))).await;
        }
    }

    /// Sends an entity's steps, in order, until the end; one in eight of them, or one long before it, once more. Between
    /// two of them is a pause of `pause_ms` on average.
    pub(crate) async fn step_on(&self, entity: &str, pause_ms: u64) {
        let mut n = 0;
        while !self.over.load(Ordering::Relaxed) {
            n += 1;
            self.deliver(&Sent::step(entity, n)).await;
            if random(8) == 0 {
                self.figures.sent_on_purpose.fetch_add(1, Ordering::Relaxed);
                self.deliver(&Sent::step(entity, 1 + random(n))).await;
            }
            tokio::time::sleep(Duration::from_millis(random(2 * pause_ms + 1))).await;
        }
    }

    /// Sends orders until the end: their halves in any order, sometimes at once; of one in six, one half never comes.
    pub(crate) async fn order_on(&self, name: &str, pause_ms: u64) {
        let mut order = 0;
        while !self.over.load(Ordering::Relaxed) {
            order += 1;
            let order = format!("{name}-{order}");
            let (paid, packed) = (Sent::half(&order, "paid"), Sent::half(&order, "packed"));
            match random(6) {
                0 => self.deliver(&paid).await,
                1 | 2 => drop(tokio::join!(self.deliver(&paid), self.deliver(&packed))),
                3 | 4 => {
                    self.deliver(&packed).await;
                    tokio::time::sleep(Duration::from_millis(random(1_500))).await;
                    self.deliver(&paid).await;
                }
                _ => {
                    self.deliver(&paid).await;
                    self.deliver(&packed).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(random(2 * pause_ms + 1))).await;
        }
    }
}
