//! The private PostgreSQL keeps its data, whatever ends it, and says what is wrong when it cannot start.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test's own steps fails that test"
)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use rejoinder::config::ProgramSettings;
use rejoinder::postgres::embedded::{Embedded, EmbeddedError};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

/// Names the data directory to the process that `start_after_kill_of_parent_recovers` kills.
const PARENT: &str = "EMBEDDED_TEST_PARENT";

/// A data directory that the server's account can enter, removed with all that was put elsewhere for it.
struct DataDir(TempDir);

impl DataDir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn cluster(&self) -> PathBuf {
        self.path().join("postgres/cluster")
    }

    fn start(&self) -> Embedded {
        Embedded::start(self.path(), &programs()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(&self, programs: &ProgramSettings) -> EmbeddedError {
        Embedded::start(self.path(), programs).unwrap_err()
    }

    /// The command, run by the account that the server runs as.
    fn as_owner<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if Uid::effective().is_root() {
            let owner = fs::metadata(self.cluster()).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.env("LC_ALL", "C").current_dir("/")
    }

    /// What the lock file of the cluster names.
    fn postmaster(&self) -> Pid {
        let text = fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let place = self.path().join("postgres");
        if let Ok(elsewhere) = fs::read_link(place) {
            fs::remove_dir_all(elsewhere).unwrap();
        }
    }
}

fn programs() -> ProgramSettings {
    ProgramSettings::from_environment()
}

async fn connect(server: &Embedded) -> PgConnection {
    PgConnection::connect_with(&server.options()).await.unwrap()
}

async fn write(server: &Embedded, note: &str) {
    let mut connection = connect(server).await;
    connection
        .execute("create table if not exists note (text text)")
        .await
        .unwrap();
    sqlx::query("insert into note values ($1)")
        .bind(note)
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn notes(server: &Embedded) -> Vec<String> {
    sqlx::query_scalar("select text from note")
        .fetch_all(&mut connect(server).await)
        .await
        .unwrap()
}

async fn setting(server: &Embedded, name: &str) -> String {
    let superuser = server.options().username("postgres");
    let mut connection = PgConnection::connect_with(&superuser).await.unwrap();
    let query = sqlx::query_scalar("select current_setting($1)").bind(name);
    query.fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn data_survives_a_restart() {
    let dir = DataDir::new();
    let mut server = dir.start();
    assert!(server.first_start());
    write(&server, "kept").await;
    server.stop();
    drop(server);

    let server = dir.start();
    assert!(!server.first_start());
    assert_eq!(notes(&server).await, ["kept"]);
}

#[tokio::test]
async fn role_that_serves_reaches_no_files_and_runs_no_programs() {
    let dir = DataDir::new();
    let server = dir.start();
    write(&server, "its own tables").await;
    for statement in [
        "copy (select 1) to program 'true'",
        "copy note to '/tmp/note'",
        "select pg_read_file('PG_VERSION')",
        "create role another superuser",
        "alter system set fsync = off",
    ] {
        let refused = connect(&server).await.execute(statement).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{statement}: {refused}");
    }
}

#[tokio::test]
async fn server_is_durable_and_listens_on_no_port() {
    let dir = DataDir::new();
    let server = dir.start();
    for name in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
        assert_eq!(setting(&server, name).await, "on", "{name}");
    }
    assert_eq!(setting(&server, "listen_addresses").await, "");
    assert_eq!(setting(&server, "server_encoding").await, "UTF8");
    assert_eq!(setting(&server, "lc_collate").await, "C");
}

#[tokio::test]
async fn url_leads_to_the_same_server() {
    let dir = DataDir::new();
    let odd = dir.path().join("a b&c=%d");
    let server = Embedded::start(&odd, &programs()).unwrap();
    write(&server, "here").await;
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let found: String = sqlx::query_scalar("select text from note")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(found, "here");
}

#[tokio::test]
async fn deep_directory_works() {
    let dir = DataDir::new();
    let deep = dir.path().join("d".repeat(60)).join("e".repeat(60));
    let server = Embedded::start(&deep, &programs()).unwrap();
    assert_eq!(setting(&server, "port").await, "5432");
    let sockets = setting(&server, "unix_socket_directories").await;
    drop(server);
    fs::remove_dir(sockets).unwrap();
}

#[test]
fn second_instance_is_refused() {
    let dir = DataDir::new();
    let _first = dir.start();
    let error = dir.refusal(&programs());
    assert!(matches!(error, EmbeddedError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains(dir.path().to_str().unwrap()) && text.contains("DATABASE_URL"),
        "{text}"
    );
}

#[tokio::test]
async fn start_after_kill_of_postmaster_recovers() {
    let dir = DataDir::new();
    let server = dir.start();
    write(&server, "kept").await;
    kill(dir.postmaster(), Signal::SIGKILL).unwrap();
    drop(server);
    assert_eq!(notes(&dir.start()).await, ["kept"]);
}

#[tokio::test]
async fn start_after_kill_of_parent_recovers() {
    let dir = DataDir::new();
    Parent::start(&dir).kill();
    let server = dir.start();
    assert!(!server.first_start());
    assert_eq!(notes(&server).await, ["from the parent"]);
}

#[tokio::test]
async fn start_after_kill_of_parent_and_postmaster_recovers() {
    let dir = DataDir::new();
    let parent = Parent::start(&dir);
    // Stopped, so that it does not see the postmaster end and nobody reaps that before its own end.
    kill(Pid::from_raw(parent.0.id().try_into().unwrap()), Signal::SIGSTOP).unwrap();
    kill(dir.postmaster(), Signal::SIGKILL).unwrap();
    parent.kill();
    assert_eq!(notes(&dir.start()).await, ["from the parent"]);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn server_ends_with_its_parent() {
    let dir = DataDir::new();
    let parent = Parent::start(&dir);
    let url = format!(
        "postgres:///postgres?host={}/postgres/run&user=rejoinder",
        dir.path().display()
    );
    let mut connection = PgConnection::connect(&url).await.unwrap();
    parent.kill();
    // Cut off by the shutdown.
    connection.execute("select pg_sleep(20)").await.unwrap_err();
    // Waits for the end of what still writes to the directory, which goes away now.
    drop(dir.start());
}

#[tokio::test]
async fn server_outlives_the_thread_that_started_it() {
    let dir = DataDir::new();
    let path = dir.path().to_owned();
    let server = std::thread::spawn(move || Embedded::start(&path, &programs()).unwrap())
        .join()
        .unwrap();
    write(&server, "kept").await;
    assert_eq!(notes(&server).await, ["kept"]);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn server_left_behind_is_replaced() {
    let dir = DataDir::new();
    let server = dir.start();
    write(&server, "kept").await;
    let line = fs::read_to_string(format!("/proc/{}/cmdline", dir.postmaster())).unwrap();
    drop(server);

    // Started by hand, so that no signal tells it of anybody's death.
    let line: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
    let mut left_behind = dir
        .as_owner(Command::new(line[0]).args(&line[1..]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(left_behind.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(log.any(|line| line.contains("ready to accept connections")));

    let server = dir.start();
    assert!(left_behind.wait().unwrap().success(), "it was shut down cleanly");
    assert_eq!(notes(&server).await, ["kept"]);
}

#[tokio::test]
async fn lock_file_with_the_id_of_another_process_is_stale() {
    let dir = DataDir::new();
    let server = dir.start();
    write(&server, "kept").await;
    let lock_file = dir.cluster().join("postmaster.pid");
    let written = fs::read_to_string(&lock_file).unwrap();
    drop(server);

    // Of the server's own account: PostgreSQL takes a process of another user for no server.
    let mut bystander = Command::new("cat");
    let mut bystander = dir
        .as_owner(bystander.stdin(Stdio::piped()).stdout(Stdio::null()))
        .spawn()
        .unwrap();
    let rest = written.split_once('\n').unwrap().1;
    fs::write(&lock_file, format!("{}\n{rest}", bystander.id())).unwrap();

    let started = Embedded::start(dir.path(), &programs());
    assert!(bystander.try_wait().unwrap().is_none(), "it is left alone");
    drop(bystander.stdin.take());
    bystander.wait().unwrap();
    assert_eq!(notes(&started.unwrap()).await, ["kept"]);
}

#[tokio::test]
async fn unreachable_directory_works_for_root() {
    let dir = DataDir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let server = dir.start();
    write(&server, "kept").await;
    drop(server);
    let link = fs::read_link(dir.path().join("postgres"));
    assert_eq!(link.is_ok(), Uid::effective().is_root());

    let server = dir.start();
    assert!(!server.first_start());
    assert_eq!(notes(&server).await, ["kept"]);
}

#[test]
fn missing_binaries_say_how_to_get_them() {
    let dir = DataDir::new();
    let empty = tempfile::tempdir().unwrap();
    let text = dir
        .refusal(&ProgramSettings {
            pg_bindir: Some(empty.path().to_owned()),
            ..programs()
        })
        .to_string();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains(empty.path().to_str().unwrap()), "{text}");
    let ways = [
        "apt-get install postgresql",
        "brew install postgresql@17",
        "docker compose up -d postgres",
    ];
    for way in ways {
        assert_eq!(
            text.lines().filter(|line| line.contains(way)).count(),
            1,
            "{way} in {text}"
        );
    }
    assert!(
        text.contains("export DATABASE_URL=postgres://rejoinder:rejoinder@127.0.0.1:5432/rejoinder"),
        "{text}"
    );
}

#[test]
fn cluster_of_another_major_version_is_refused() {
    let dir = DataDir::new();
    drop(dir.start());
    let version = dir.cluster().join("PG_VERSION");
    let ours = fs::read_to_string(&version).unwrap();
    fs::write(&version, "9\n").unwrap();
    let error = dir.refusal(&programs());
    assert!(matches!(error, EmbeddedError::WrongMajor { made_by: 9, .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("only PostgreSQL {}", ours.trim())),
        "{error}"
    );
}

#[tokio::test]
async fn initdb_cut_short_is_done_again() {
    let dir = DataDir::new();
    let unfinished = dir.path().join("postgres/cluster.new");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    let server = dir.start();
    assert!(server.first_start());
    assert!(!unfinished.exists());
    assert_eq!(setting(&server, "fsync").await, "on");
}

/// Another process, which has started the server of a directory and written to it.
struct Parent(Child);

impl Parent {
    fn start(dir: &DataDir) -> Self {
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "parent", "--ignored", "--nocapture"])
            .env(PARENT, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(parent.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        assert!(said.any(|line| line.contains("the server is up")));
        Self(parent)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs until it is killed, or its standard input ends.
#[tokio::test]
#[ignore = "the process that other tests kill"]
#[expect(
    clippy::disallowed_methods,
    reason = "told by the test that runs this, not a setting"
)]
async fn parent() {
    let dir = std::env::var_os(PARENT).expect("the data directory");
    let server = Embedded::start(Path::new(&dir), &programs()).unwrap();
    write(&server, "from the parent").await;
    println!("the server is up");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
