//! The delay at light load, as a sender and a reader see it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::shared::load::{Ask, Connection};

/// Events a second.
const RATE: f64 = 20.0;

/// From sending an event to its fact being there for others to read, in milliseconds, one an event, in rising order.
/// `run` tells these events from those of other runs.
pub(crate) async fn delays(address: SocketAddr, url: &str, run: u16, events: usize) -> anyhow::Result<Vec<f64>> {
    let mut backlog = Backlog::connect(url).await?;
    let mut connection = Connection::open(address, Ask::Event, u64::from(run) << 32).await?;
    let mut beat = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    let mut delays = Vec::with_capacity(events);
    for _ in 0..events {
        beat.tick().await;
        let sent = Instant::now();
        let answer: Value = serde_json::from_slice(connection.turn().await?)?;
        let entity = answer["event_id"].as_str().context("the answer names no event")?;
        while !backlog.is_known(entity).await? {
            ensure!(
                sent.elapsed() < Duration::from_secs(5),
                "an event was not applied in 5 s"
            );
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        delays.push(sent.elapsed().as_secs_f64() * 1_000.0);
    }
    delays.sort_by(f64::total_cmp);
    Ok(delays)
}
