//! What the tests share: turns to post, a gate to hold handlers at, and waiting for what must come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rejoinder::testing::TestBot;
use rejoinder::{Data, Fail, Reply};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// An ES turn of one session.
pub(crate) fn es(response_id: &str, intent: &str, parameters: Value) -> Value {
    json!({
        "responseId": response_id,
        "session": "projects/p-1/agent/sessions/s-1",
        "queryResult": {
            "queryText": "as the user said it",
            "intent": {"displayName": intent},
            "parameters": parameters,
            "languageCode": "en",
        },
    })
}

/// The text that the user hears.
pub(crate) fn said(reply: &Value) -> &str {
    reply["fulfillmentText"]
        .as_str()
        .unwrap_or_else(|| panic!("no text in {reply}"))
}

/// Holds handlers until the test lets them go, and counts them.
#[derive(Clone)]
pub(crate) struct Gate {
    entered: Arc<AtomicU32>,
    passes: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self {
            entered: Arc::default(),
            passes: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn opened() -> Self {
        let gate = Self::closed();
        gate.open();
        gate
    }

    pub(crate) fn open(&self) {
        self.passes.add_permits(1_000);
    }

    /// Lets so many go.
    pub(crate) fn let_pass(&self, handlers: usize) {
        self.passes.add_permits(handlers);
    }

    pub(crate) fn entered(&self) -> u32 {
        self.entered.load(Ordering::SeqCst)
    }

    /// Counts the handler, holds it, and returns its number.
    pub(crate) async fn pass(&self) -> u32 {
        let number = self.entered.fetch_add(1, Ordering::SeqCst) + 1;
        self.passes.acquire().await.unwrap().forget();
        number
    }
}

/// A handler that answers with the number of its run, once it is let go.
pub(crate) async fn numbered(gate: Data<Gate>) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("run {}", gate.pass().await)))
}

/// Waits for what must come true soon, and fails the test if it does not.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < patience, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The service's metrics, as they are scraped.
pub(crate) async fn metrics(bot: &TestBot) -> String {
    let scrape = bot.http().get(bot.url("/metrics")).send().await.unwrap();
    scrape.text().await.unwrap()
}
