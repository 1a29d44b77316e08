//! Events, as their senders, users and operators see them.

mod batch;
mod bounded;
mod catalogue;
mod check;
mod clock;
pub(crate) mod command;
mod dead_letter;
mod directory;
mod emitted;
mod explanation;
mod forgetting;
mod handshake;
mod join;
mod listing;
mod log;
mod malformed;
mod metric;
mod outage;
mod overload;
mod parked;
mod quarantine;
mod refusal;
mod reload;
mod replay;
mod secret;
pub(crate) mod shop;
mod source;
mod story;

pub(crate) use directory::package;
pub(crate) use shop::shop;
