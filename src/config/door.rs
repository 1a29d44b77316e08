//! Who may come in at each door, from where and how often.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::{Args, Command, FromArgMatches as _};

use super::{AuthSettings, Rate, without_empty_variables};

/// A group of routes with callers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Where platforms post turns.
    Turns,
    /// Where sources deliver events, and where its catalogue is read.
    Events,
    /// Where a conversation is listened to.
    Stream,
    /// Where an operator looks at the process.
    Operate,
}

impl Door {
    const ALL: [Self; 4] = [Self::Turns, Self::Events, Self::Stream, Self::Operate];

    /// As metrics and the log have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Events => "events",
            Self::Stream => "stream",
            Self::Operate => "operate",
        }
    }

    /// What stands before the names of the settings that are this door's alone.
    fn prefix(self) -> &'static str {
        match self {
            Self::Turns => "TURNS_",
            Self::Events => "EVENTS_",
            Self::Stream => "STREAM_",
            Self::Operate => "OPERATE_",
        }
    }
}

/// Who may come in, from where and how often: of all doors, or of one.
#[derive(Args, Clone, Debug, Default)]
pub struct DoorSettings {
    /// Who may call.
    #[command(flatten)]
    pub auth: AuthSettings,

    /// File with the addresses that may come in, one a line (203.0.113.0/24, 2001:db8::/32), re-read when it changes; default: all
    #[arg(long, env = "ALLOW_FROM_FILE", value_name = "PATH", help_heading = LIMITS)]
    pub allow_from_file: Option<PathBuf>,

    /// Requests of one client address (IPv6: of one /64) at most, such as 20/s, 600/m or 5000/h; default: no limit
    #[arg(long, env = "RATE_PER_CLIENT", value_name = "RATE", help_heading = LIMITS)]
    pub rate_per_client: Option<Rate>,

    /// Requests of one admitted caller at most; default: no limit
    #[arg(long, env = "RATE_PER_CALLER", value_name = "RATE", help_heading = LIMITS)]
    pub rate_per_caller: Option<Rate>,

    /// Requests with wrong or no credentials of one client address at most, loopback aside; default: 30/m
    #[arg(long, env = "RATE_OF_FAILURES", value_name = "RATE", help_heading = LIMITS)]
    pub rate_of_failures: Option<Rate>,
}

const LIMITS: &str = "Doors (each of these and of the callers' settings also with TURNS_, EVENTS_, STREAM_ or OPERATE_ in front, for that door alone)";

/// The settings of all doors.
#[derive(Clone, Debug, Default)]
pub struct DoorsSettings {
    /// Of the doors that have none of their own.
    pub general: DoorSettings,
    /// Of doors that have some, whole.
    pub own: BTreeMap<Door, DoorSettings>,
}

impl DoorsSettings {
    /// Looks in the environment for settings of single doors. One that has a caller method of its own has none of the
    /// general callers' settings; what else is not set for it is as in general.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn of_environment(general: DoorSettings) -> anyhow::Result<Self> {
        let mut own = BTreeMap::new();
        for door in Door::ALL {
            let command = without_empty_variables(own_settings(door));
            let names: Vec<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
            let mut matches = command
                .try_get_matches_from([""])
                .map_err(|error| anyhow::anyhow!("{}…: {error}", door.prefix()))?;
            if !names.iter().any(|name| matches.contains_id(name.as_str())) {
                continue;
            }
            let mut settings = general.clone();
            let mut auth = AuthSettings::default();
            auth.update_from_arg_matches(&matches)?;
            if auth.has_method() {
                settings.auth = AuthSettings::default();
            }
            settings.update_from_arg_matches_mut(&mut matches)?;
            own.insert(door, settings);
        }
        Ok(Self { general, own })
    }

    /// Those of a door.
    pub fn of(&self, door: Door) -> &DoorSettings {
        self.own.get(&door).unwrap_or(&self.general)
    }
}

impl From<DoorSettings> for DoorsSettings {
    fn from(general: DoorSettings) -> Self {
        Self {
            general,
            own: BTreeMap::new(),
        }
    }
}

/// The settings of a door as a command that reads them from the environment: without defaults, since what is not set is as
/// in general.
fn own_settings(door: Door) -> Command {
    DoorSettings::augment_args_for_update(Command::new(door.name())).mut_args(|arg| {
        let name = arg.get_env().and_then(|name| name.to_str());
        let name = name.map(|name| OsStr::from(format!("{}{name}", door.prefix())));
        arg.env(Resettable::from(name)).default_value(None::<&str>)
    })
}

/// The names of all settings of single doors.
pub(super) fn own_names() -> impl Iterator<Item = String> {
    Door::ALL.into_iter().flat_map(|door| {
        let command = own_settings(door);
        let names = command
            .get_arguments()
            .filter_map(|arg| arg.get_env()?.to_str().map(str::to_owned));
        names.collect::<Vec<_>>()
    })
}
