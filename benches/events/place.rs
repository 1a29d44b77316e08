//! What all contestants share: a PostgreSQL with fsync on, a directory of events, and the service's settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rejoinder::postgres::embedded::Embedded;

use crate::shared::contestant::{self, Contestant, default_settings, this_program};
use crate::shared::load::{Ask, SECRET};
use crate::shared::{empty_dir, programs};

/// As the file that is delivered, but of a priority that is never sent away: the load sends more than is applied.
const SOURCE: &str = concat!(
    "priority = \"high\"\n",
    include_str!("../../events/sources/generic.toml")
);

/// What the type's schema is; the service asks for one.
const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["status", "place"],
  "properties": {
    "status": {"type": "string"},
    "place": {"type": "object", "required": ["depot"], "properties": {"depot": {"type": "string"}}},
    "weight_g": {"type": "integer", "minimum": 0}
  }
}
"#;

const RULE: &str = r#"on = ["parcel.moved"]

[[do]]
remember = { name = "depot", value = "{{ payload.place.depot }}" }
"#;

/// Connections for events, of the service as of contestant (a): the service's default.
const POOL: &str = "6";

/// Where it all happens.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    events: PathBuf,
    /// Last, so that it is stopped when the contestants are.
    _postgres: Embedded,
}

impl Place {
    /// Starts PostgreSQL, and writes the directory of events.
    pub(crate) fn make(pg_bindir: Option<&Path>) -> anyhow::Result<Self> {
        let dir = empty_dir("events")?;
        let events = dir.join("events");
        for (path, text) in [
            ("sources/generic.toml", SOURCE),
            ("schemas/parcel.moved/1.json", SCHEMA),
            ("reactions/parcel_moved.toml", RULE),
        ] {
            let path = events.join(path);
            let parent = path.parent().context("it has a directory")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let postgres = Embedded::start(&dir.join("data"), &programs(pg_bindir))?;
        Ok(Self {
            url: postgres.url(),
            dir,
            events,
            _postgres: postgres,
        })
    }

    /// The service; it applies events, too, if `works`.
    pub(crate) fn service(&self, works: bool, ask: Ask) -> anyhow::Result<Contestant> {
        let place = contestant::Place::new(&self.dir, "service")?;
        let mut command = self.program();
        command
            .env("LISTEN", place.address.to_string())
            .env("SHUTDOWN_DELAY_S", "0")
            .env("GENERIC_WEBHOOK_SECRET", format!("whsec_{}", STANDARD.encode(SECRET)))
            .env("EVENTS_WORK", works.to_string())
            .env("DEMO_DATA", "true")
            .env("BALANCE_CACHE_S", "0");
        Contestant::start("service", &mut command, &place, ask)
    }

    /// Contestant (a).
    pub(crate) fn alone(&self) -> anyhow::Result<Contestant> {
        let place = contestant::Place::new(&self.dir, "alone")?;
        let mut command = this_program()?;
        command.args(["alone", &place.address.to_string(), &self.url, "--size", POOL]);
        Contestant::start("a", &mut command, &place, Ask::Event)
    }

    /// The program with settings that do not depend on what it does.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoinder"));
        default_settings(&mut command)
            .env("DATABASE_URL", &self.url)
            .env("DATA_DIR", self.dir.join("service"))
            .env("EVENTS_DIR", &self.events)
            .env("EVENTS_POOL_SIZE", POOL);
        command
    }
}
