//! `rejoinder stream-token`: lets a web page listen to one conversation for a while.

use std::process::ExitCode;

use clap::Args;

use super::database::{CONNECTIONS, Reached};
use super::out;
use crate::config::{DatabaseSettings, whole_number};
use crate::conversation::stream_token::{MOST_SECONDS, StreamTokens, Wanted};
use crate::session::{BadSessionName, SessionName};

/// Make a token with which a web page may listen to one conversation
///
/// It goes behind the stream's address, as `?token=…`, or into the cookie `rejoinder_stream`. The key lies in the database;
/// the service need not run.
#[derive(Args)]
#[group(skip)]
pub(super) struct StreamToken {
    /// The session's full name
    #[arg(value_parser = session)]
    session: SessionName,
    /// How long it counts, in seconds, 1 to 86400
    #[arg(long, default_value = "600", value_parser = whole_number::<u32>(1..=MOST_SECONDS.into()))]
    seconds: u32,
    /// Print JSON: the token, when it expires, and the stream's address with it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl StreamToken {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let reached = Reached::find(&self.database, CONNECTIONS).await?;
            let wanted = Wanted {
                session: self.session,
                seconds: self.seconds,
            };
            let made = StreamTokens::new(reached.database.clone()).make(&wanted).await?;
            match self.json {
                true => out::print_json(&made)?,
                false => out::print(&made.token)?,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn session(name: &str) -> Result<SessionName, BadSessionName> {
    SessionName::parse(name)
}
