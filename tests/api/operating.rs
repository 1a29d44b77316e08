//! What those who operate the service meet: its health, its log, its environment, its database that comes late.

use std::fs::File;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rejoinder::Bot;
use rejoinder::testing::TestBot;
use serde_json::Value;
use sqlx::ConnectOptions as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};

use crate::events::command::{Ran, ran};
use crate::serve::{Running, data_dir, rejoinder};
use crate::support::eventually;

/// A service whose output, both streams, goes to one file.
struct Logged {
    home: TempDir,
    child: std::process::Child,
}

impl Logged {
    fn start(settings: &[(&str, &str)]) -> Self {
        let home = data_dir();
        let output = File::create(home.path().join("output")).unwrap();
        let child = rejoinder()
            .env("DATA_DIR", home.path())
            .env("LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { home, child }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.home.path().join("output")).unwrap()
    }

    async fn says(&self, text: &str) {
        eventually(text, async || self.output().contains(text)).await;
    }

    fn stop(&mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
    }
}

#[test]
fn health_tells_by_its_exit_code_whether_a_service_is_ready() {
    let home = data_dir();
    let running = Running::start(&home, &[]);
    for arguments in [&["health"][..], &["health", "--live"]] {
        let mut command = rejoinder();
        command
            .args(arguments)
            .env("LISTEN", running.url.trim_start_matches("http://"));
        let Ran { code, err, .. } = ran(command);
        assert_eq!((code, err.as_str()), (0, ""));
    }
    let mut command = rejoinder();
    command.args(["health", "--url", "http://127.0.0.1:1"]);
    let Ran { code, out, err } = ran(command);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("nothing answers at http://127.0.0.1:1"), "{err}");
}

#[tokio::test]
async fn every_line_that_a_service_writes_is_json_where_that_is_wanted() {
    let mut service = Logged::start(&[("LOG_FORMAT", "json")]);
    service.says("serving").await;
    assert_eq!(service.stop(), Some(0));
    let output = service.output();
    for line in output.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn name_that_is_nearly_a_settings_is_warned_of() {
    let service = Logged::start(&[("DATABSE_URL", "postgres://app:hunter2@db/app")]);
    service
        .says("DATABSE_URL is no setting and does nothing; is DATABASE_URL meant?")
        .await;
    assert!(!service.output().contains("hunter2"));
}

#[test]
fn line_of_the_env_file_that_is_none_is_told_by_its_number_and_not_by_its_text() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "# first\nAUTH_BEARER hunter2\n").unwrap();
    let mut command = rejoinder();
    command.current_dir(dir.path()).arg("routes");
    let Ran { code, err, .. } = ran(command);
    assert_eq!(code, 2);
    assert!(
        err.contains(".env:2: found something else, expected NAME=value"),
        "{err}"
    );
    assert!(!err.contains("hunter2"), "{err}");
}

#[tokio::test]
async fn database_that_comes_a_little_later_than_the_service_is_waited_for() {
    let bot = TestBot::start(Bot::new()).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let database = bot.database();
    let url = format!(
        "postgres://rejoinder@127.0.0.1:{port}/{}",
        database.get_database().unwrap()
    );
    let service = Logged::start(&[("DATABASE_URL", &url)]);
    service.says("the database is not there yet; trying again").await;
    let socket = database.get_socket().unwrap().join(".s.PGSQL.5432");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await.ok() });
        }
    });
    service.says("rejoinder serves on").await;
}

#[test]
fn listening_on_a_name_is_understood() {
    let home = data_dir();
    let running = Running::start(&home, &[("LISTEN", "localhost:0")]);
    assert!(running.url.starts_with("http://127.0.0.1:"), "{}", running.url);
}

#[test]
fn standard_output_that_is_closed_is_no_reason_to_stop_serving() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let home = data_dir();
    let log = File::create(home.path().join("output")).unwrap();
    let mut child = rejoinder()
        .env("DATA_DIR", home.path())
        .env("LISTEN", "127.0.0.1:0")
        .env("LOG_FORMAT", "text")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(log)
        .spawn()
        .unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let output = || std::fs::read_to_string(home.path().join("output")).unwrap();
    while !output().contains("the database answers") {
        assert!(std::time::Instant::now() < until, "{}", output());
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none(), "{}", output());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn worker_tells_how_it_is_where_it_is_told_to() {
    let bot = TestBot::start(Bot::new()).await;
    let url = bot.database().to_url_lossy();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut command = rejoinder();
    let home = data_dir();
    command
        .arg("work")
        .env("DATA_DIR", home.path())
        .env("DATABASE_URL", url.as_str())
        .env("OPERATE_LISTEN", &free)
        .env("AUTH_BEARER", "a-token-that-nobody-can-guess-0123")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut worker = command.spawn().unwrap();
    let status = async |path: &str, token: &str| {
        let asked = bot
            .http()
            .get(format!("http://{free}{path}"))
            .bearer_auth(token)
            .send()
            .await;
        asked.map(|answer| answer.status().as_u16()).unwrap_or(0)
    };
    eventually("the worker is ready", async || status("/readyz", "").await == 200).await;
    assert_eq!(status("/healthz", "").await, 200);
    assert_eq!(status("/metrics", "wrong").await, 401);
    assert_eq!(status("/metrics", "a-token-that-nobody-can-guess-0123").await, 200);
    assert_eq!(status("/fulfillment", "a-token-that-nobody-can-guess-0123").await, 404);
    let mut health = rejoinder();
    health.arg("health").env("OPERATE_LISTEN", &free);
    let Ran { code, err, .. } = tokio::task::spawn_blocking(|| ran(health)).await.unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    kill(Pid::from_raw(i32::try_from(worker.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(worker.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn address_in_a_browser_says_where_turns_and_events_go() {
    let bot = TestBot::start(Bot::new()).await;
    let welcome = bot.http().get(bot.url("/")).send().await.unwrap();
    assert_eq!(welcome.headers()["content-type"], "text/plain; charset=utf-8");
    let said = welcome.text().await.unwrap();
    assert!(
        said.contains("POST /fulfillment") && said.contains("POST /events/{source}"),
        "{said}"
    );
}
