//! Black-box tests of the running service.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod budget;
mod callers;
mod chat;
mod connections;
mod dependencies;
mod dialogflow_fulfillment;
mod events;
mod guards;
mod idempotency;
mod identity;
mod memory;
mod modules;
mod observability;
mod operating;
mod outage;
mod overload;
mod owners;
mod printing;
mod question;
mod restart;
mod routing;
mod serve;
mod settings;
mod slot_filling;
mod stream_tokens;
mod structure;
mod support;
mod tables;
mod tls;
mod traces;
mod upgrade;
mod wire;
