//! A bot under test: the whole service on a port of its own, with a database of its own and a clock the test holds.
//!
//! Needs PostgreSQL's server programs, which are fetched where there are none: one private PostgreSQL runs for all tests
//! of a process and ends with it. Panics are how a test kit reports.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod events;
mod story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::bot::Bot;
use crate::clock::Clock;
use crate::config::{
    self, DoorsSettings, EventSettings, NoSettings, NotificationSettings, ServerSettings, Settings, StreamSettings,
    TurnSettings,
};
use crate::postgres::embedded::{Embedded, EmbeddedError};
use crate::postgres::{ConnectSettings, Database, SILENCE, tables};
use crate::recorded::{self, RecordedTurn};
use crate::running::Running;
use crate::service::{Parts, Service};
use crate::upstream;

pub use self::events::ChatStream;
pub use self::story::Story;
pub use crate::running::Said;

/// The migrated database that each test's is copied from.
const TEMPLATE: &str = "template_migrated";

/// What a test may set.
pub struct TestSettings {
    /// Where it listens (on loopback, at a port of its own) and how connections are kept; it stops without a delay.
    pub server: ServerSettings,
    /// Time limits and sizes of turns.
    pub turns: TurnSettings,
    /// Who may come in at each door, from where and how often.
    pub doors: DoorsSettings,
    /// The events door; its directory is the package's `events` for a bot that has reactions, else none.
    pub events: EventSettings,
    /// Which web pages may listen to a conversation.
    pub stream: StreamSettings,
    /// How many notifications a user gets.
    pub notifications: NotificationSettings,
    /// Where secrets that were made here lay before the database kept them.
    pub data_dir: PathBuf,
    /// Connections to the database.
    pub pool_size: u32,
    /// The time at the start; the service sees no other until the test moves it.
    pub now: DateTime<Utc>,
    /// A clock that runs, instead of one that stands at `now`; it is set by the database's.
    pub clock: Option<Clock>,
    /// How long the database may say nothing before a connection is given up.
    pub silence: Duration,
    /// A database to share with another bot under test; else a new one, with the bot's demo data.
    pub database: Option<PgConnectOptions>,
}

/// A bot that serves.
///
/// ```
/// use rejoinder::serde_json::json;
/// use rejoinder::testing::TestBot;
/// use rejoinder::{Bot, Fail, Reply};
///
/// async fn hello() -> Result<Reply, Fail> {
///     Ok(Reply::text("Hello!"))
/// }
///
/// #[tokio::main]
/// async fn main() {
///     let bot = TestBot::start(Bot::new().intent("Hello", hello)).await;
///     let turn = json!({
///         "session": "projects/p/agent/sessions/s",
///         "queryResult": {"intent": {"displayName": "Hello"}},
///     });
///     assert_eq!(bot.turn(&turn).await["fulfillmentText"], "Hello!");
/// }
/// ```
pub struct TestBot {
    service: Service,
    shutdown_delay: Duration,
    clock: Clock,
    database: PgConnectOptions,
    http: reqwest::Client,
}

impl TestBot {
    /// Serves `bot` with the default settings.
    pub async fn start(bot: Bot) -> Self {
        Self::start_with(bot, |_| {}).await
    }

    /// Serves `bot` with what `change` sets.
    pub async fn start_with(bot: Bot, change: impl FnOnce(&mut TestSettings)) -> Self {
        let Settings {
            mut server,
            turns,
            door,
            mut events,
            stream,
            notifications,
            ..
        } = config::defaults::<NoSettings>();
        if bot.action_names().is_empty() {
            events.events_dir = PathBuf::new();
        }
        let now = DateTime::from_timestamp(1_790_000_000, 0).expect("a time in range");
        server.listen.set_port(0);
        server.shutdown_delay_s = 0;
        let mut settings = TestSettings {
            server,
            turns,
            doors: door.into(),
            events,
            stream,
            notifications,
            data_dir: data_dir(),
            pool_size: 5,
            now,
            clock: None,
            silence: SILENCE,
            database: None,
        };
        change(&mut settings);
        let clock = settings.clock.unwrap_or_else(|| Clock::held(settings.now));
        let is_new = settings.database.is_none();
        let options = match settings.database {
            Some(options) => options,
            None => new_database().await,
        };
        let database = Database::connect(ConnectSettings {
            primary: options.clone(),
            replica: None,
            pool_size: settings.pool_size,
            events_pool_size: settings.events.events_pool_size,
            patience: settings.turns.handler_limit(),
            silence: settings.silence,
            clock: clock.clone(),
        })
        .await
        .expect("connect to the test's database");
        let migrated = database.bring_up_to_date(bot.own_migrations()).await;
        migrated.expect("the bot's migrations");
        if let (true, Some(data)) = (is_new, bot.demo()) {
            database.load(data).await.expect("load the demo data");
        }
        let shutdown_delay = settings.server.shutdown_delay();
        let parts = Parts {
            bot,
            database,
            server: settings.server,
            turns: settings.turns,
            doors: settings.doors,
            events: settings.events,
            stream: settings.stream,
            notifications: settings.notifications,
            data_dir: settings.data_dir,
            clock: clock.clone(),
        };
        let service = Service::start(parts).await.expect("start the service");
        Self {
            service,
            shutdown_delay,
            clock,
            database: options,
            http: upstream::client().expect("an HTTP client"),
        }
    }

    /// `http://127.0.0.1:PORT` and `path`; `https` where it has a certificate.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service.url())
    }

    /// Where it sends plain HTTP on to HTTPS, where it is set to.
    pub fn redirect_address(&self) -> Option<SocketAddr> {
        self.service.redirect_address()
    }

    /// An HTTP client with time-outs.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The clock that the service goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The database.
    pub fn pool(&self) -> &PgPool {
        self.service.database().primary()
    }

    /// What the service knows of conversations.
    #[cfg(test)]
    pub(crate) fn conversation(&self) -> &std::sync::Arc<crate::conversation::Conversation> {
        self.service.conversation()
    }

    /// How to connect to the database, for a second bot on it.
    pub fn database(&self) -> PgConnectOptions {
        self.database.clone()
    }

    /// Posts `body` to `/fulfillment`: the status, and the answer's JSON (null where it is none).
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self
            .http
            .post(self.url("/fulfillment"))
            .header("content-type", "application/json")
            .body(body);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("the answer's body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Posts a turn that must be answered with 200.
    pub async fn turn(&self, turn: &Value) -> Value {
        let (status, reply) = self.post(turn.to_string()).await;
        assert_eq!(status, 200, "turn refused: {reply}");
        reply
    }

    /// Plays the recorded turns of `dir`, a directory (or one file) relative to the working directory, which in
    /// tests is the package's; in the order of their names.
    ///
    /// # Panics
    /// With a table and diffs, where a reply is not the one recorded.
    pub async fn replay(&self, dir: impl AsRef<Path>) {
        let turns = RecordedTurn::read_all(&[dir]).expect("recorded turns");
        let url = self.url("/fulfillment");
        let service = Running::new(self.http.clone(), &url, &[]).expect("the service's URL");
        let report = recorded::play(&service, &turns).await.expect("a service that listens");
        assert!(report.failed() == 0, "replies differ\n\n{}", report.text(false));
    }

    /// Stops the service in order.
    pub async fn stop(self) {
        self.service.stop(self.shutdown_delay).await;
    }
}

/// A bot's own settings, as they are where nothing is set.
pub fn default_settings<B: clap::Args>() -> B {
    config::defaults::<B>().bot
}

/// A database of the test's own, migrated.
pub(crate) async fn new_database() -> PgConnectOptions {
    static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();
    let server = postgres().options();
    let mut admin = PgConnection::connect_with(&server)
        .await
        .expect("connect to the test PostgreSQL");
    TEMPLATE_MADE
        .get_or_init(|| async {
            execute(&mut admin, format!("create database {TEMPLATE}")).await;
            let (mut template, _) = tables::connect(server.clone().database(TEMPLATE))
                .await
                .expect("connect");
            tables::bring_up_to_date(&mut template).await.expect("migrate");
            template.close().await.expect("close");
        })
        .await;
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut admin = PgConnection::connect_with(&server)
        .await
        .expect("connect to the test PostgreSQL");
    execute(&mut admin, format!("create database {name} template {TEMPLATE}")).await;
    server.database(&name)
}

async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::query(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .expect("a statement of the test kit");
}

/// Where the tests of this process keep what services keep in `DATA_DIR`.
fn data_dir() -> PathBuf {
    std::env::temp_dir().join(format!("rejoinder-test-data-{}", std::process::id()))
}

/// How a process's own directory begins, before its number.
const OWN: &str = "rejoinder-test-";

/// Removes what processes have left behind that were killed.
fn sweep() {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(OWN)?.parse().ok()) else {
            continue;
        };
        if kill(Pid::from_raw(id), None) == Err(Errno::ESRCH)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::info!(%error, path = %entry.path().display(), "left behind by a test, and not removed");
        }
    }
}

/// The process's PostgreSQL, in a directory beside the test's binary, emptied of what the last run left.
fn postgres() -> &'static Embedded {
    static POSTGRES: OnceLock<Embedded> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        let binary = std::env::current_exe().expect("the test's binary");
        let name = binary.file_stem().and_then(|stem| stem.to_str()).unwrap_or("tests");
        // Without the hash that cargo appends.
        let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
        let beside = binary.ancestors().nth(2).map_or_else(std::env::temp_dir, PathBuf::from);
        sweep();
        fresh(&beside.join("postgres").join(name))
            // Another process runs the same binary's tests: a directory of our own.
            .or_else(|_| fresh(&std::env::temp_dir().join(format!("{OWN}{}", std::process::id()))))
            .unwrap_or_else(|error| panic!("no private PostgreSQL: {error}"))
    })
}

/// Starts on a new cluster: faster than dropping the databases of an old one. That it starts on the old one shows that
/// nobody else runs there.
fn fresh(dir: &Path) -> Result<Embedded, EmbeddedError> {
    let programs = config::ProgramSettings::from_environment();
    let old = Embedded::start(dir, &programs)?;
    if old.first_start() {
        return Ok(old);
    }
    drop(old);
    let cluster = std::fs::canonicalize(dir.join("postgres")).expect("the cluster's directory");
    std::fs::remove_dir_all(cluster).expect("an old cluster that can be removed");
    Embedded::start(dir, &programs)
}
