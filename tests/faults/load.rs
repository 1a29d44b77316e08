//! Events that come in on and on, and a service and a worker that apply them, while something is broken.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::claims;
use crate::process::Process;
use crate::sender::Senders;
use crate::site::{Site, eventually};

const ENTITIES: usize = 6;

/// Senders that send until the end.
pub(crate) struct Load {
    pub(crate) senders: Arc<Senders>,
    sending: Mutex<JoinSet<()>>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            senders: Arc::new(Senders::new()),
            sending: Mutex::default(),
        }
    }

    /// Starts a service and a worker, and sends to it.
    pub(crate) async fn start(&self, site: &Site) -> [Process; 2] {
        let processes = [site.serve().started().await, site.work().started().await];
        self.senders.aim(processes[0].url());
        let entities: Vec<String> = (0..ENTITIES).map(|entity| format!("entity {entity}")).collect();
        site.follow(&entities).await;
        let mut sending = self.sending.lock().unwrap();
        for entity in entities {
            let senders = Arc::clone(&self.senders);
            sending.spawn(async move { senders.step_on(&entity, 30).await });
        }
        let senders = Arc::clone(&self.senders);
        sending.spawn(async move { senders.order_on("order", 30).await });
        processes
    }

    /// Waits until more was acknowledged.
    pub(crate) async fn goes_on(&self) {
        let wanted = self.senders.acknowledged().len() + 20;
        eventually("events are acknowledged", async || {
            self.senders.acknowledged().len() >= wanted
        })
        .await;
    }

    /// How often a sender was asked to come later, or not answered.
    pub(crate) fn refused(&self) -> u64 {
        self.senders.figures.refused.load(Relaxed) + self.senders.figures.not_answered.load(Relaxed)
    }

    /// Ends, and checks what became of all that was sent.
    pub(crate) async fn end(self, site: &Site) {
        self.senders.end();
        self.sending.into_inner().unwrap().join_all().await;
        claims::hold(site, &self.senders).await;
    }
}
