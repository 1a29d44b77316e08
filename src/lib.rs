//! Rejoinder: the fulfillment backend for chatbots.
//!
//! A chatbot platform understands a sentence and posts a *turn*; a handler answers it from Postgres or an API, always
//! within the platform's time. A deployment is a [`Bot`], a list of intents with their handlers, whose program [`main!`]
//! writes.
//!
//! ```
//! use rejoinder::{Bot, Fail, NoSettings, Params, Reply};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Query {
//!     day: String,
//! }
//!
//! async fn opening_hours(Params(query): Params<Query>) -> Result<Reply, Fail> {
//!     Ok(Reply::text(match query.day.as_str() {
//!         "sunday" => "We are closed on Sundays.".to_owned(),
//!         day => format!("On {day} we are open from 9 to 18."),
//!     }))
//! }
//!
//! fn bot(_: &NoSettings) -> Bot {
//!     Bot::new()
//!         .intent("Opening Hours", opening_hours)
//!         .prompt("day", &[("en", "Which day do you mean?")])
//! }
//!
//! rejoinder::main!(bot);
//! ```
//!
//! [`handler`] has what a handler can take, [`reply`] what it can say, [`testing`] how it is tested.

#![warn(clippy::print_stdout)] // `println!` panics where nobody reads on; `cli::out` does not

mod address;
mod agent;
mod apply;
mod attempts;
pub mod auth;
mod body;
mod bot;
mod breakers;
mod cache;
mod chat_page;
pub mod cli;
mod client_credentials;
pub mod clock;
pub mod config;
mod connection;
mod conversation;
mod error;
mod event;
mod events;
mod expression;
mod fail;
mod forget;
mod fulfillment;
mod guard;
pub mod handler;
mod idempotency;
mod intake;
mod json;
mod lang;
mod listener;
mod log;
mod nearest;
mod number;
mod operate;
mod origins;
mod peer;
mod platform;
pub mod postgres;
mod privacy;
mod progress;
mod reactions;
mod recorded;
mod redirect;
mod refusals;
pub mod reply;
mod rulebook;
mod running;
mod server;
mod service;
pub mod session;
mod source;
mod telemetry;
mod terms;
pub mod testing;
mod tls;
mod turn;
mod upstream;

/// The crates whose types the framework's API speaks, in the versions that it was built with.
pub use {anyhow, chrono, clap, ipnet, reqwest, serde_json, sqlx};

pub use crate::bot::{BadBot, Bot, By, Intent, Texts};
pub use crate::cache::Cache;
pub use crate::chat_page::ChatPage;
pub use crate::cli::{Program, run};
pub use crate::client_credentials::ClientCredentials;
pub use crate::clock::Clock;
pub use crate::config::NoSettings;
pub use crate::fail::Fail;
pub use crate::handler::reaction::Event;
pub use crate::handler::{
    Connection, Context, Data, Db, Deadline, Fact, Facts, FromTurn, Handler, Memory, Params, Pool, Preferences, Raw,
    Read, Session, Transaction, Tx, Verified,
};
pub use crate::lang::Lang;
pub use crate::reply::{Answer, FollowUp, Kept, Message, Platform, Reply};
pub use crate::turn::{ActiveContext, Api, FormParameter, Page, Sentiment, Turn};
pub use crate::upstream::{MAX_ANSWER, Upstream};

/// Writes the `main` of a bot's program, which runs its command line: `serve`, `replay`, `events`, `migrate` and the others.
///
/// It takes a function that makes the bot of its settings, which derive `clap::Args`. The program speaks in the name of the
/// package that this stands in.
///
/// ```
/// use rejoinder::{Bot, Fail, Reply};
///
/// async fn hello() -> Result<Reply, Fail> {
///     Ok(Reply::text("Hello!"))
/// }
///
/// fn bot(_: &rejoinder::NoSettings) -> Bot {
///     Bot::new().intent("Hello", hello)
/// }
///
/// rejoinder::main!(bot);
/// ```
#[macro_export]
macro_rules! main {
    ($bot:path) => {
        fn main() -> ::std::process::ExitCode {
            let program = $crate::Program {
                name: ::std::env!("CARGO_PKG_NAME"),
                version: ::std::env!("CARGO_PKG_VERSION"),
                about: ::std::env!("CARGO_PKG_DESCRIPTION"),
            };
            $crate::run(program, $bot)
        }
    };
}
