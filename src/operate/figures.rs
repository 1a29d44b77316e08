//! What is looked at only when `/metrics` is read: pools, gates, cache, breakers, and the process itself.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::process;
use super::rows::{count, gauge, histograms};
use crate::breakers::{Breakers, Caller};
use crate::fulfillment::Fulfillment;
use crate::handler::Services;
use crate::postgres::Database;
use crate::telemetry::traces;

/// Whose figures they are.
pub(crate) struct Figures {
    database: Database,
    breakers: Breakers,
    /// `None` where no turns are answered.
    fulfillment: Option<Arc<Fulfillment>>,
}

impl Figures {
    /// They alone, in a registry that asks for them each time that it is read.
    pub(crate) fn registry(database: Database, breakers: Breakers, fulfillment: Option<Arc<Fulfillment>>) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Self {
            database,
            breakers,
            fulfillment,
        }));
        registry
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1_i64)];
        gauge(
            encoder,
            "rejoinder_build_info",
            "Always 1; the framework's version",
            version,
        )?;
        let spans = traces::spans().map(|(outcome, count)| ([("outcome", outcome)], count));
        let help = "Spans that the collector has taken, that it has not, and that were dropped as too many waited";
        count(encoder, "rejoinder_spans", help, spans)?;
        database(encoder, &self.database)?;
        breakers(encoder, &self.breakers)?;
        if let Some(fulfillment) = &self.fulfillment {
            let (now, most) = fulfillment.in_flight();
            let help = "Turns that are in the works";
            gauge(encoder, "rejoinder_turns_in_flight", help, [([], now as i64)])?;
            let help = "Turns that may be in the works at once";
            gauge(encoder, "rejoinder_turns_in_flight_max", help, [([], most as i64)])?;
            services(encoder, fulfillment.services())?;
        }
        process::encode(encoder)
    }
}

/// Whether the database answers, and its pools.
fn database(encoder: &mut DescriptorEncoder<'_>, database: &Database) -> fmt::Result {
    let help = "Whether the database answered when it was last asked, a second or two ago";
    gauge(
        encoder,
        "rejoinder_database_up",
        help,
        [([], i64::from(database.is_up()))],
    )?;
    let connections = database.pools().flat_map(|(pool, connections)| {
        let (all, idle) = (i64::from(connections.size()), connections.num_idle() as i64);
        let label = |state| [("pool", pool), ("state", state)];
        [(label("idle"), idle), (label("used"), (all - idle).max(0))]
    });
    let help = "Connections to the database that are open, by pool";
    gauge(encoder, "rejoinder_pool_connections", help, connections)?;
    let most = database
        .pools()
        .map(|(pool, connections)| ([("pool", pool)], i64::from(connections.options().get_max_connections())));
    let help = "Connections to the database that may be open, by pool";
    gauge(encoder, "rejoinder_pool_connections_max", help, most)
}

/// The hosts that are called, at most a thousand.
fn breakers(encoder: &mut DescriptorEncoder<'_>, breakers: &Breakers) -> fmt::Result {
    let hosts = breakers.hosts();
    let open = hosts
        .iter()
        .map(|(name, host)| ([("host", &***name)], i64::from(host.is_open())));
    let help = "1 where calls to a host fail at once, since most of the last ones failed";
    gauge(encoder, "rejoinder_upstream_breaker_open", help, open)?;
    let requests = hosts.iter().flat_map(|(name, host)| {
        let outcomes = host.outcomes().into_iter();
        outcomes.map(move |(outcome, count)| ([("host", &***name), ("outcome", outcome)], count))
    });
    let help = "Calls to other services; refused: not made, for the breaker is open";
    count(encoder, "rejoinder_upstream_requests", help, requests)?;
    let durations = [("turn", Caller::Turn), ("outbox", Caller::Outbox)];
    let durations = durations.map(|(caller, of)| ([("caller", caller)], breakers.durations(of)));
    let help = "How long calls to other services took, of handlers and of what goes out";
    histograms(encoder, "rejoinder_upstream_duration_seconds", help, durations)
}

/// The gates before the pools, and the cache.
fn services(encoder: &mut DescriptorEncoder<'_>, services: &Services) -> fmt::Result {
    let gates: Vec<_> = services.gates.named().collect();
    let waiting = gates
        .iter()
        .map(|(pool, gate)| ([("pool", *pool)], gate.waiting() as i64));
    let help = "Turns that wait for a connection to the database";
    gauge(encoder, "rejoinder_turns_waiting", help, waiting)?;
    let waits = gates.iter().map(|(pool, gate)| ([("pool", *pool)], gate.waits()));
    let help = "How long turns waited for a connection to the database, where none was free";
    histograms(encoder, "rejoinder_turn_connection_wait_seconds", help, waits)?;
    let stays = gates.iter().map(|(pool, gate)| ([("pool", *pool)], gate.stays()));
    let help = "How long turns had a connection: for a statement, or a whole transaction";
    histograms(encoder, "rejoinder_turn_connection_use_seconds", help, stays)?;
    let lookups = services.cache.lookups();
    let lookups = lookups.map(|(outcome, count)| ([("outcome", outcome)], count));
    let help = "How often handlers asked the cache, and whether it had what they asked for";
    count(encoder, "rejoinder_cache_lookups", help, lookups)?;
    let (entries, bytes) = services.cache.size();
    let help = "Entries of the handlers' cache";
    gauge(encoder, "rejoinder_cache_entries", help, [([], entries as i64)])?;
    let help = "Memory that the entries of the handlers' cache take";
    gauge(encoder, "rejoinder_cache_bytes", help, [([], bytes as i64)])
}
