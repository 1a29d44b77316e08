//! The program: it starts, says where, keeps its data, stops in order, and recovers from being killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{es, eventually};

/// Where programs, PostgreSQL's among them, are or come from.
const MACHINE: [&str; 6] = [
    "PATH",
    "HOME",
    "XDG_CACHE_HOME",
    "PG_BINDIR",
    "PG_FETCH",
    "PG_FETCH_URL",
];

/// The program with no settings but those of the test.
#[expect(clippy::disallowed_methods, reason = "the test hands the machine's own on")]
pub(crate) fn rejoinder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoinder"));
    command
        .env_clear()
        .envs(MACHINE.map(|name| (name, std::env::var_os(name).unwrap_or_default())))
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

pub(crate) fn data_dir() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// What a service logs, in its directory.
const LOG: &str = "log";

/// A running `rejoinder`, stopped at the end of the test at the latest.
pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
    greeting: String,
    /// Where it runs when it has a directory of its own.
    home_of_its_own: Option<TempDir>,
}

impl Running {
    pub(crate) fn start(home: &TempDir, settings: &[(&str, &str)]) -> Self {
        let mut command = rejoinder();
        command.env("DATA_DIR", home.path()).stderr(Stdio::null());
        Self::started(command, settings)
    }

    /// Starts it in a directory of its own, and keeps what it logs.
    pub(crate) fn start_logged(settings: &[(&str, &str)]) -> Self {
        let home = data_dir();
        let mut command = rejoinder();
        // A file, not a pipe, which would hold the service up once it is full.
        let log = File::create(home.path().join(LOG)).unwrap();
        command.env("DATA_DIR", home.path()).stderr(log);
        let mut running = Self::started(command, settings);
        if running.url.is_empty() {
            running.url = served_at(&home);
        }
        running.home_of_its_own = Some(home);
        running
    }

    fn started(mut command: Command, settings: &[(&str, &str)]) -> Self {
        command.env("LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut greeting, mut url) = (String::new(), String::new());
        // Where lines are JSON it greets nobody: the log says where it serves.
        if !settings.contains(&("LOG_FORMAT", "json")) {
            greeting = lines.next().unwrap().unwrap();
            url = greeting.rsplit_once(' ').unwrap().1.to_owned();
            for line in lines.take(4) {
                greeting = format!("{greeting}\n{}", line.unwrap());
            }
        }
        Self {
            child,
            url,
            greeting,
            home_of_its_own: None,
        }
    }

    /// How much memory it has taken, in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// What it has logged by now.
    pub(crate) fn log_so_far(&self) -> String {
        let home = self.home_of_its_own.as_ref().unwrap();
        std::fs::read_to_string(home.path().join(LOG)).unwrap()
    }

    /// Stops it, and returns what it has logged.
    pub(crate) fn logs(&mut self) -> String {
        self.signal(Signal::SIGINT);
        self.log_so_far()
    }

    async fn balance(&self) -> Value {
        let parameters = json!({"user_id": "12345", "account_type": "checking"});
        let turn = es(&uuid::Uuid::new_v4().to_string(), "Get Account Balance", parameters);
        let post = reqwest::Client::builder()
            .build()
            .unwrap()
            .post(format!("{}/fulfillment", self.url))
            .json(&turn);
        let reply: Value = post.send().await.unwrap().json().await.unwrap();
        reply["outputContexts"][0]["parameters"]["balance"].clone()
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// Waits until a log of JSON lines says where the service is.
fn served_at(home: &TempDir) -> String {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let log = std::fs::read_to_string(home.path().join(LOG)).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let url = lines
            .filter(|line| line["fields"]["message"] == "serving")
            .find_map(|line| line["fields"]["url"].as_str().map(str::to_owned));
        if let Some(url) = url {
            return url;
        }
        assert!(std::time::Instant::now() < until, "{log}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGINT);
        }
    }
}

#[tokio::test]
async fn first_start_has_demo_data_second_keeps_it_and_kill_9_loses_nothing() {
    let home = data_dir();
    let mut first = Running::start(&home, &[]);
    assert!(
        first.greeting.contains(&format!("curl {}/fulfillment", first.url)),
        "{}",
        first.greeting
    );
    assert_eq!(first.balance().await, json!(3247.82));
    let socket = home.path().join("postgres/run");
    let options = sqlx::postgres::PgConnectOptions::new()
        .socket(&socket)
        .username("rejoinder")
        .database("postgres");
    let pool = sqlx::PgPool::connect_with(options).await.unwrap();
    sqlx::query("update accounts set balance = 1.05 where customer_id = '12345'")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    assert_eq!(first.signal(Signal::SIGINT), Some(0));
    assert!(!socket.join(".s.PGSQL.5432").exists(), "the database is stopped");

    let mut second = Running::start(&home, &[]);
    assert_eq!(second.balance().await, json!(1.05));
    assert_eq!(second.signal(Signal::SIGKILL), None);

    let mut third = Running::start(&home, &[("SHUTDOWN_DELAY_S", "0")]);
    assert_eq!(third.balance().await, json!(1.05));
    assert_eq!(third.signal(Signal::SIGTERM), Some(0));
}

#[tokio::test]
async fn private_database_that_is_killed_comes_back_by_itself() {
    let home = data_dir();
    let running = Running::start(&home, &[("BALANCE_CACHE_S", "0")]);
    assert_eq!(running.balance().await, json!(3247.82));
    let pid = std::fs::read_to_string(home.path().join("postgres/cluster/postmaster.pid")).unwrap();
    let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("answered from the database again", async || {
        running.balance().await == json!(3247.82)
    })
    .await;
}

#[tokio::test]
async fn program_has_all_the_descriptors_that_the_system_allows_and_warns_of_few() {
    let home = data_dir();
    let (mut command, file) = (Command::new("sh"), home.path().join(LOG));
    command
        .args([
            "-c",
            "ulimit -Sn 200 && ulimit -Hn 1000 && exec \"$0\"",
            env!("CARGO_BIN_EXE_rejoinder"),
        ])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("DATA_DIR", home.path())
        .stderr(File::create(&file).unwrap());
    let running = Running::started(command, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let row = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = row.split_whitespace().nth(3).unwrap();
    assert_eq!(soft, "1000", "{row}");
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains("few descriptors"), "{log}");
}

/// What the program says when it does not start.
pub(crate) fn refused(settings: &[(&str, &str)]) -> String {
    refused_command(&[], settings)
}

/// What the program says when it does not start with these arguments.
pub(crate) fn refused_command(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let Output { status, stderr, .. } = rejoinder()
        .args(arguments)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "it started: {said}");
    said
}

#[test]
fn wrong_setting_stops_the_start_with_its_name_its_value_and_what_is_expected() {
    for (name, value, expected) in [
        ("LISTEN", "here", "expected an address and port"),
        ("CX_LIMIT_MS", "31000", "expected a whole number from 1000 to 30000"),
        ("CX_LIMIT_MS", "abc", "expected a whole number from 1000 to 30000"),
        ("TURNS_IN_FLIGHT", "0", "expected a whole number from 1 to 100000"),
        ("ES_API", "v3", "possible values: auto, v2, v2beta1"),
        ("RUST_LOG", "a=b=c", "expected levels"),
        ("RATES_API_URL", "nope", "expected an http or https URL"),
        (
            "DATABASE_URL",
            "postgres://app:pw@127.0.0.1:1/app",
            "expected a PostgreSQL that answers at 127.0.0.1:1",
        ),
    ] {
        let said = refused(&[(name, value)]);
        let shown = if name == "DATABASE_URL" { "" } else { value };
        assert!(
            said.contains(name) && said.contains(shown) && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains("app:pw"), "{said}");
    }
    let said = refused(&[("CX_LIMIT_MS", "4000"), ("ANSWER_MARGIN_MS", "4900")]);
    assert!(
        said.contains("ANSWER_MARGIN_MS: found 4900, expected at least 50 less than CX_LIMIT_MS, 4000"),
        "{said}"
    );
}

#[test]
fn wrong_database_address_is_refused_without_repeating_its_password() {
    let said = refused(&[("DATABASE_URL", "mysql://app:hunter2@db/app")]);
    assert!(
        said.contains("DATABASE_URL") && said.contains("expected postgres://"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn address_that_others_can_reach_is_refused_while_anybody_is_admitted() {
    let home = data_dir();
    let said = refused(&[("LISTEN", "0.0.0.0:0"), ("DATA_DIR", home.path().to_str().unwrap())]);
    assert!(
        said.contains("LISTEN: found 0.0.0.0:0") && said.contains("AUTH_BASIC"),
        "{said}"
    );
}

#[test]
fn secret_that_can_be_guessed_is_refused_where_others_can_try() {
    for (setting, secret) in [
        ("AUTH_BEARER", "hunter2"),
        ("AUTH_BASIC", "dialogflow-agent-of-ours:x"),
        ("AUTH_HMAC_SECRET", "fifteen-letters"),
        ("AUTH_JWT_KEY", "thirty-one-letters-are-too-few."),
    ] {
        let home = data_dir();
        let said = refused(&[
            ("LISTEN", "0.0.0.0:0"),
            (setting, secret),
            ("DATA_DIR", home.path().to_str().unwrap()),
        ]);
        assert!(
            said.contains(setting) && said.contains("can be guessed") && said.contains("at least"),
            "{said}"
        );
        assert!(!said.contains(secret), "{said}");
    }
    let home = data_dir();
    let said = refused(&[
        ("OPERATE_LISTEN", "0.0.0.0:0"),
        ("OPERATE_AUTH_BEARER", "hunter2"),
        ("DATA_DIR", home.path().to_str().unwrap()),
    ]);
    assert!(
        said.contains("the door operate") && said.contains("can be guessed"),
        "{said}"
    );
    let (home, events) = (data_dir(), crate::events::package());
    let said = refused(&[
        ("LISTEN", "0.0.0.0:0"),
        ("AUTH_BEARER", "long-enough-not-to-be-guessed"),
        ("GITHUB_WEBHOOK_SECRET", "octocat"),
        ("EVENTS_DIR", events.to_str().unwrap()),
        ("DATA_DIR", home.path().to_str().unwrap()),
    ]);
    assert!(
        said.contains("GITHUB_WEBHOOK_SECRET") && said.contains("can be guessed"),
        "{said}"
    );
}

#[tokio::test]
async fn secret_that_can_be_guessed_is_warned_of_on_loopback() {
    let mut running = Running::start_logged(&[("AUTH_BEARER", "a")]);
    let logs = running.logs();
    assert!(
        logs.contains("AUTH_BEARER") && logs.contains("can be guessed"),
        "{logs}"
    );
}

#[test]
fn wrong_callers_are_told_before_a_database_is_started() {
    let home = data_dir();
    let said = refused(&[
        ("AUTH_BASIC", "no-colon-in-it"),
        ("DATA_DIR", home.path().to_str().unwrap()),
    ]);
    assert!(
        said.contains("AUTH_BASIC") && !said.contains("no-colon-in-it"),
        "{said}"
    );
    assert!(
        std::fs::read_dir(home.path()).unwrap().next().is_none(),
        "something was started"
    );
}

#[test]
fn missing_postgresql_says_how_to_get_it() {
    let (home, empty) = (data_dir(), data_dir());
    let said = refused(&[
        ("DATA_DIR", home.path().to_str().unwrap()),
        ("PG_BINDIR", empty.path().to_str().unwrap()),
    ]);
    for way in ["apt-get install", "brew install", "docker compose up"] {
        assert!(said.contains(way), "{said}");
    }
}

#[test]
fn empty_variable_is_one_that_is_not_set() {
    let home = data_dir();
    let running = Running::start(&home, &[("AUTH_BASIC", ""), ("DATABASE_URL", ""), ("CX_LIMIT_MS", "")]);
    assert!(running.url.starts_with("http://127.0.0.1:"));
}

#[test]
fn routes_prints_the_table_of_intents() {
    let mut table = String::new();
    let mut child = rejoinder().arg("routes").stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_string(&mut table).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(table.starts_with("MATCHED BY  NAME"), "{table}");
    let row = table.lines().find(|line| line.contains("Get Account Balance")).unwrap();
    assert!(
        row.starts_with("intent") && row.ends_with("get_account_balance::handle"),
        "{row}"
    );
    let json = rejoinder().args(["routes", "--json"]).output().unwrap().stdout;
    let json: Vec<Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(json.len(), table.lines().count() - 1);
}
