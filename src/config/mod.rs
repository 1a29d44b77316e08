//! Settings: one small struct per concern, each read from its flag, else from its environment variable.
//!
//! A `.env` file in the working directory is read first; a variable that is empty is as if it were not set.

pub mod auth;
mod database;
mod events;
mod log;
mod notifications;
mod server;
mod turn;

use std::ops::RangeInclusive;

use clap::{Args, Command, CommandFactory as _, FromArgMatches as _, Parser};

pub use self::auth::AuthSettings;
pub use self::database::{BadDatabaseUrl, DatabaseSettings};
pub use self::events::EventSettings;
pub use self::log::{LogFormat, LogSettings};
pub use self::notifications::NotificationSettings;
pub use self::server::ServerSettings;
pub use self::turn::{NoBudget, TurnSettings};

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
    /// Who may call.
    #[command(flatten)]
    pub auth: AuthSettings,
    /// How many notifications a user gets.
    #[command(flatten)]
    pub notifications: NotificationSettings,
    /// What is logged.
    #[command(flatten)]
    pub log: LogSettings,
    /// The bot's own.
    #[command(flatten)]
    pub bot: B,
}

/// Reads the command line of `P`, with settings from the environment; on a wrong one prints it and ends the process.
pub(crate) fn read<P: Parser>() -> P {
    // A missing file is fine: all settings have defaults.
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        P::command()
            .error(clap::error::ErrorKind::Io, format!(".env cannot be read: {error}"))
            .exit();
    }
    let command = without_empty_variables(P::command());
    P::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
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

/// Reads a whole number of a setting, for clap's `value_parser`; the error says what is expected.
pub fn whole_number<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + 'static,
{
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A variable that a file names, such as one that holds a secret; `None` where it is not set, or empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the module the lint points to")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `PG_BINDIR` for the test kit, which has no command line.
pub(crate) fn pg_bindir() -> Option<std::path::PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this is the module the lint points to")]
    std::env::var_os("PG_BINDIR")
        .filter(|path| !path.is_empty())
        .map(Into::into)
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
