//! Settings: one small struct per concern, each read from its flag, else from its environment variable.
//!
//! A `.env` file in the working directory is read first; a variable that is empty is as if it were not set.

pub mod auth;
mod database;
mod door;
mod events;
mod log;
mod notifications;
mod programs;
mod proxies;
mod rate;
mod server;
mod stream;
mod tls;
mod traces;
mod turn;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, FromArgMatches as _, Parser};
use tracing::{info, warn};

pub use self::auth::AuthSettings;
pub use self::database::{BadDatabaseUrl, DatabaseSettings};
pub use self::door::{Door, DoorSettings, DoorsSettings};
pub use self::events::EventSettings;
pub use self::log::{LogFormat, LogSettings};
pub use self::notifications::NotificationSettings;
pub use self::programs::{Fetch, ProgramSettings};
pub(crate) use self::programs::{cache_home, cache_in_home};
pub use self::proxies::ProxySettings;
pub(crate) use self::proxies::network;
pub use self::rate::Rate;
pub use self::server::{OperateSettings, ServerSettings};
pub use self::stream::StreamSettings;
pub use self::tls::TlsSettings;
pub use self::traces::TraceSettings;
pub use self::turn::{NoBudget, TurnSettings};
use crate::nearest::nearest;
pub use crate::number::whole_number;
pub use crate::origins::Origins;
pub use crate::platform::{DialogflowSettings, EsApi};

/// All settings of the service; `B` are those of the bot.
#[derive(Clone, Debug, Args)]
#[group(skip)] // `B` may be called Settings, too
pub struct Settings<B: Args> {
    /// Where it listens.
    #[command(flatten)]
    pub server: ServerSettings,
    /// Time limits and sizes of turns.
    #[command(flatten)]
    pub turns: TurnSettings,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// The events door.
    #[command(flatten)]
    pub events: EventSettings,
    /// Who may come in, from where and how often.
    #[command(flatten)]
    pub door: DoorSettings,
    /// Which web pages may listen to a conversation.
    #[command(flatten)]
    pub stream: StreamSettings,
    /// How many notifications a user gets.
    #[command(flatten)]
    pub notifications: NotificationSettings,
    /// What is logged.
    #[command(flatten)]
    pub log: LogSettings,
    /// Whether spans are sent.
    #[command(flatten)]
    pub traces: TraceSettings,
    /// The bot's own.
    #[command(flatten)]
    pub bot: B,
}

/// A bot has no settings of its own.
#[derive(Clone, Debug, Default, Args)]
pub struct NoSettings {}

/// Reads a command line, which is that of `P`, with settings from the environment; on a wrong one prints it and ends the
/// process.
pub(crate) fn read<P: Parser>(mut command: Command) -> P {
    // A missing file is fine: all settings have defaults.
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        command.error(clap::error::ErrorKind::Io, unreadable_env(error)).exit();
    }
    let command = without_empty_variables(command);
    P::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// What is wrong with `.env`; not the text of a line, which may be a secret.
fn unreadable_env(error: dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(text, _) = error else {
        return format!(".env cannot be read: {error}");
    };
    let file = std::fs::read_to_string(".env").unwrap_or_default();
    let line = file.lines().position(|line| line == text).map_or(1, |index| index + 1);
    format!(".env:{line}: found something else, expected NAME=value")
}

/// Names that are near a setting's and mean something to TLS libraries: where the roots lie that others are known by.
const ELSEWHERE: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What the environment, `.env` among it, says of the settings of `P`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Names of settings that have a value there.
    pub(crate) set: Vec<String>,
    /// Names that are no setting's but nearly so, each with the one that may be meant.
    pub(crate) slips: Vec<(String, String)>,
}

impl Environment {
    /// Looks at the names alone: values may be secrets.
    pub(crate) fn read<P: CommandFactory>() -> Self {
        let names = std::env::vars_os()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, _)| name.into_string().ok());
        Self::of(&P::command(), names)
    }

    fn of(command: &Command, names: impl Iterator<Item = String>) -> Self {
        let mut known = BTreeSet::new();
        collect_names(command, &mut known);
        known.extend(door::own_names());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut environment = Self::default();
        for name in names {
            if known.contains(&name.as_str()) {
                environment.set.push(name);
            } else if !ELSEWHERE.contains(&name.as_str())
                && let Some(meant) = nearest(&name, known.iter().copied())
            {
                let meant = meant.to_owned();
                environment.slips.push((name, meant));
            }
        }
        environment.set.sort();
        environment.slips.sort();
        environment
    }

    /// Tells of it when a service starts.
    pub(crate) fn log(&self) {
        info!(settings = self.set.join(" "), "settings from the environment");
        for (found, meant) in &self.slips {
            warn!("{found} is no setting and does nothing; is {meant} meant?");
        }
    }
}

fn collect_names(command: &Command, names: &mut BTreeSet<String>) {
    let of_arguments = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str());
    names.extend(of_arguments.filter(|name| *name != "USER").map(str::to_owned));
    for subcommand in command.get_subcommands() {
        collect_names(subcommand, names);
    }
}

/// Whether colours are unwanted (no-color.org).
pub(crate) fn no_color() -> bool {
    variable("NO_COLOR").is_some()
}

/// Settings as they are where nothing is set: for tests.
#[expect(clippy::expect_used, reason = "defaults are constants, and a test reads them all")]
pub(crate) fn defaults<B: Args>() -> Settings<B> {
    #[derive(Parser)]
    struct Line<B: Args> {
        #[command(flatten)]
        settings: Settings<B>,
    }
    let command = Line::<B>::command().mut_args(|arg| arg.env(None::<&str>));
    let matches = command.get_matches_from(["rejoinder"]);
    Line::<B>::from_arg_matches(&matches)
        .expect("defaults are valid")
        .settings
}

/// The base URL of what listens on this machine at the first of these settings that is set, for commands that speak to it.
pub(crate) fn local_url(settings: &[&str]) -> String {
    let mut address = settings
        .iter()
        .find_map(|name| variable(name))
        .and_then(|listen| server::address(&listen).ok())
        .unwrap_or(server::DEFAULT);
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = local_certificate().map_or("http", |_| "https");
    format!("{scheme}://{address}")
}

/// The file of the certificate that what listens on this machine shows; `None` where it speaks plain HTTP.
pub(crate) fn local_certificate() -> Option<PathBuf> {
    variable("TLS_CERT_FILE").map(PathBuf::from)
}

/// A variable that a file names, such as one that holds a secret; `None` where it is not set, or empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the module the lint points to")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that is set and empty (`AUTH_BASIC=` in a file) is one that is not set.
fn without_empty_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        #[expect(clippy::disallowed_methods, reason = "this is the module the lint points to")]
        let empty = arg
            .get_env()
            .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        if empty { arg.env(None::<&str>) } else { arg }
    });
    command.mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        server: ServerSettings,
        #[command(flatten)]
        database: DatabaseSettings,
    }

    #[test]
    fn name_that_is_nearly_a_settings_is_taken_for_a_slip() {
        let names = [
            "DATABSE_URL",
            "LISTEN",
            "HOME",
            "DEMO_DATAS",
            "LISTEN_FDS",
            "PATH",
            "SSL_CERT_FILE",
        ];
        let environment = Environment::of(&Line::command(), names.map(str::to_owned).into_iter());
        assert_eq!(environment.set, ["LISTEN"]);
        let slips: Vec<_> = environment
            .slips
            .iter()
            .map(|(found, meant)| (found.as_str(), meant.as_str()))
            .collect();
        assert_eq!(slips, [("DATABSE_URL", "DATABASE_URL"), ("DEMO_DATAS", "DEMO_DATA")]);
    }
}
