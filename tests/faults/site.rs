//! Where a test's processes run: a PostgreSQL and a directory of events of their own, which outlive them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rejoinder::config::ProgramSettings;
use rejoinder::postgres::embedded::Embedded;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Clock};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::disk::Disk;
use crate::process::Process;
use crate::receiver::Receiver;

/// A secret of the source `generic`.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A database, the files of `tests/faults/events`, and who is called.
pub(crate) struct Site {
    pub(crate) pool: PgPool,
    pub(crate) receiver: Receiver,
    pub(crate) database: Embedded,
    /// After the database, which writes to it to its end.
    pub(crate) disk: Option<Disk>,
    url: String,
    home: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_in(home(), None).await
    }

    /// With a disk for the database alone, of so many MiB; none where this process may not mount one.
    pub(crate) async fn start_on_a_disk(mib: u32) -> Option<Self> {
        let home = home();
        let disk = Disk::mount(&home.path().join("postgres"), mib)?;
        Some(Self::start_in(home, Some(disk)).await)
    }

    async fn start_in(home: TempDir, disk: Option<Disk>) -> Self {
        let receiver = Receiver::start().await;
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/events");
        copy(&from, &home.path().join("events"), &receiver.url);
        let database = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .connect_lazy_with(database.options().application_name("the test"));
        let migrated = Command::new(env!("CARGO_BIN_EXE_rejoinder"))
            .arg("migrate")
            .current_dir(home.path())
            .env("DATABASE_URL", database.url())
            .output()
            .unwrap();
        assert!(migrated.status.success(), "{migrated:?}");
        Self {
            url: database.url(),
            database,
            pool,
            receiver,
            disk,
            home,
        }
    }

    /// The directory of sources, schemas and reactions.
    pub(crate) fn events_dir(&self) -> PathBuf {
        self.home.path().join("events")
    }

    /// A service of this process, on a database that is reached so, by a clock that runs; and what `change` sets.
    pub(crate) async fn bot(&self, database: PgConnectOptions, change: impl FnOnce(&mut TestSettings)) -> TestBot {
        // The source `generic` takes it over, as a secret that an earlier version has made.
        let secrets = self.data_dir().join("secrets");
        fs::create_dir_all(&secrets).unwrap();
        fs::write(secrets.join("generic"), SECRET).unwrap();
        TestBot::start_with(Bot::new(), |settings| {
            settings.database = Some(database);
            settings.events.events_dir = self.events_dir();
            settings.data_dir = self.data_dir();
            settings.notifications.notifications_per_hour = 10_000;
            settings.clock = Some(Clock::system());
            change(settings);
        })
        .await
    }

    /// The directory of the database, and of secrets that an earlier version has made.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Where the database's socket is.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.database.options().get_socket().unwrap().clone()
    }

    /// What PostgreSQL's lock file names.
    pub(crate) fn postmaster(&self) -> i32 {
        let text = fs::read_to_string(self.home.path().join("postgres/cluster/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// A service that applies events, too.
    pub(crate) fn serve(&self) -> Process {
        self.process(&[], "true")
    }

    /// A service that only takes events in.
    pub(crate) fn door(&self) -> Process {
        self.process(&[], "false")
    }

    /// `rejoinder work`.
    pub(crate) fn work(&self) -> Process {
        self.process(&["work"], "true")
    }

    fn process(&self, arguments: &[&str], works: &str) -> Process {
        let events_dir = self.events_dir();
        let settings = HashMap::from([
            ("DATABASE_URL", self.url.as_str()),
            ("DATABASE_POOL_SIZE", "3"),
            ("EVENTS_DIR", events_dir.to_str().unwrap()),
            ("EVENTS_WORK", works),
            ("DATA_DIR", self.home.path().to_str().unwrap()),
            ("GENERIC_WEBHOOK_SECRET", SECRET),
            ("NOTIFICATIONS_PER_HOUR", "10000"),
            ("LISTEN", "127.0.0.1:0"),
            ("SHUTDOWN_DELAY_S", "0"),
            (
                "RUST_LOG",
                "warn,rejoinder::service=error,rejoinder::conversation::sender=info",
            ),
        ]);
        Process::start(arguments, &settings, &self.home.path().join("log"))
    }

    /// Has one user follow each entity, whom its steps are told in a conversation of the entity's name.
    pub(crate) async fn follow(&self, entities: &[String]) {
        for statement in [
            "insert into rejoinder.follows select e, 'user of ' || e, now() from unnest($1::text[]) e",
            "insert into rejoinder.conversations select e, 'user of ' || e, now() from unnest($1::text[]) e",
            "insert into rejoinder.subscriptions select 'user of ' || e, 'steps', true, now() from unnest($1::text[]) e",
        ] {
            sqlx::query(statement).bind(entities).execute(&self.pool).await.unwrap();
        }
    }

    /// As if the silence of workers that are gone had lasted long enough for the others to notice.
    pub(crate) async fn age_workers(&self) {
        let mut transaction = self.pool.begin().await.unwrap();
        // As workers do that share out, so that neither waits for the other.
        for statement in [
            "select pg_advisory_xact_lock(hashtext('rejoinder event leases'))",
            "update rejoinder.event_workers set seen_at = seen_at - interval '1 minute'",
        ] {
            sqlx::query(statement).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }

    /// As if the time had come for all that is to be tried again.
    pub(crate) async fn hurry(&self) {
        self.run("update rejoinder.outbox set due_at = now() where state in ('pending', 'held') and due_at > now()")
            .await;
        self.run(
            "update rejoinder.parked_events set retry_at = now() where retry_at > now() and retry_at < 'infinity'",
        )
        .await;
    }

    pub(crate) async fn run(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement)).execute(&self.pool).await.unwrap();
    }

    /// The one number that a query comes to.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(format!("select ({query})::bigint"));
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// What is left to be applied or sent: events, parked events, messages, joins.
    async fn left(&self) -> [i64; 4] {
        [
            self.number(
                "select count(*) from rejoinder.event_log l where l.position > coalesce(
                     (select max(c.position) from rejoinder.event_cursors c where c.partition = l.partition), 0)",
            )
            .await,
            self.number("select count(*) from rejoinder.parked_events").await,
            self.number("select count(*) from rejoinder.outbox where state in ('pending', 'held')")
                .await,
            self.number("select count(*) from rejoinder.event_joins where rule = 'punctual' and state = 'open'")
                .await,
        ]
    }

    /// Waits until nothing is left to be applied or sent.
    pub(crate) async fn drain(&self) {
        let patience = Instant::now() + Duration::from_secs(120);
        self.hurry().await;
        loop {
            let left = self.left().await;
            match left {
                [0, 0, 0, 0] => return,
                // One that is opened when its time is already over is given half a minute, in which nothing comes here.
                [0, 0, 0, _] => {
                    self.run("update rejoinder.event_joins set deadline = now() where rule = 'punctual' and deadline > now()")
                        .await;
                }
                _ => {}
            }
            assert!(Instant::now() < patience, "not drained: {left:?} {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the processes have logged.
    pub(crate) fn whole_log(&self) -> String {
        let log = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The end of it.
    pub(crate) fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(elsewhere) = fs::read_link(self.home.path().join("postgres")) {
            self.database.stop();
            fs::remove_dir_all(elsewhere).unwrap();
        }
    }
}

/// A directory that the database's account can pass through.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// Copies a directory of text files; rules in it call `receiver`.
fn copy(from: &Path, to: &Path, receiver: &str) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to, receiver);
        } else {
            let text = fs::read_to_string(&from).unwrap();
            fs::write(&to, text.replace("http://receiver", receiver)).unwrap();
        }
    }
}

/// Waits for what must come true soon, and fails the test if it does not.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < patience, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A number below `limit`, another each time.
pub(crate) fn random(limit: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % limit
}
