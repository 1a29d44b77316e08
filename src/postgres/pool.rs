//! Pools of connections: what comes out of one answers, and what goes back into it is not waited for without end.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use tracing::log::LevelFilter;

use super::ANSWER;
use super::silence::in_time;

/// One that has lain idle for so long may have been cut, or forgotten by what stands between us and the database.
const RESTED: Duration = Duration::from_secs(1);

/// How long one that is given back in the middle of a statement may still take, beside the statement's own limit.
const MARGIN: Duration = Duration::from_secs(5);

/// How long a statement about events may run, and how long a transaction may do nothing: the database then ends what a
/// machine that is gone has left behind.
const EVENTS_STATEMENT_MS: &str = "30000";
const EVENTS_IDLE_MS: &str = "15000";

/// How long events wait for a connection.
const EVENTS_PATIENCE: Duration = Duration::from_secs(5);

/// So many connections serve what is said in conversations: its sender, its streams, and who tells these.
const CONVERSATIONS: u32 = 4;

/// Connections of turns; their statements may run as long as one may wait for a connection.
pub(super) fn of_turns(options: PgConnectOptions, size: u32, patience: Duration) -> PgPool {
    let statement_timeout = patience.as_millis().to_string();
    let options = options
        .application_name("rejoinder")
        .options([("statement_timeout", statement_timeout.as_str())])
        .log_slow_statements(LevelFilter::Warn, Duration::from_secs(1));
    sized(size)
        .acquire_timeout(patience)
        // A handler is ended at its limit in the middle of whatever it does.
        .after_release(move |connection, _| Box::pin(settled(connection, patience + MARGIN)))
        .connect_lazy_with(options)
}

/// Connections of events.
pub(super) fn of_events(options: PgConnectOptions, size: u32) -> PgPool {
    background(options.application_name("rejoinder events"), size)
}

/// Connections of conversations.
pub(super) fn of_conversations(options: PgConnectOptions) -> PgPool {
    background(options.application_name("rejoinder conversations"), CONVERSATIONS)
}

fn background(options: PgConnectOptions, size: u32) -> PgPool {
    let options = options
        .options([
            ("statement_timeout", EVENTS_STATEMENT_MS),
            ("idle_in_transaction_session_timeout", EVENTS_IDLE_MS),
            // So that it notices in a minute.
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ])
        .log_slow_statements(LevelFilter::Warn, Duration::from_secs(5));
    sized(size)
        .acquire_timeout(EVENTS_PATIENCE)
        .after_release(|connection, _| Box::pin(settled(connection, MARGIN)))
        .connect_lazy_with(options)
}

fn sized(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .test_before_acquire(false)
        .before_acquire(|connection, use_of| {
            Box::pin(async move {
                if use_of.idle_for >= RESTED {
                    in_time(ANSWER, connection.ping()).await?;
                }
                Ok(true)
            })
        })
}

/// What is still to be answered on a connection is, or it is closed. No round trip where nothing is. (The pool itself
/// would wait for the answer without end.)
async fn settled(connection: &mut sqlx::PgConnection, limit: Duration) -> sqlx::Result<bool> {
    in_time(limit, connection.flush()).await.map(|()| true)
}
