//! Where there is no PostgreSQL, one is fetched: once, whole and proven, or not at all, which is told in three lines.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod archive;
mod machine;
mod mirror;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Db, Fail, Reply};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::archive::{Archive, VERSION};
use crate::machine::Machine;
use crate::mirror::{CREDENTIALS, Mirror, Way};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rejoinder");

/// A machine without PostgreSQL and what mirrors have for it; none where that cannot be.
async fn machine() -> Option<&'static (Machine, Archive)> {
    static MACHINE: OnceCell<Option<(Machine, Archive)>> = OnceCell::const_new();
    let made = MACHINE.get_or_init(async || {
        let archive = Archive::pack().await;
        Machine::without(&archive.bindir).map(|machine| (machine, archive))
    });
    made.await.as_ref()
}

/// A user's directories.
struct Home {
    machine: &'static Machine,
    dir: TempDir,
}

impl Home {
    fn new(machine: &'static Machine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["", "cache", "data"] {
            let path = dir.path().join(sub);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { machine, dir }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Where what is fetched is kept.
    fn kept(&self) -> PathBuf {
        self.cache().join("rejoinder/postgresql")
    }

    /// What is kept; the lock stays.
    fn found(&self) -> Vec<String> {
        let entries = fs::read_dir(self.kept()).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }

    fn set<'a>(&self, command: &'a mut Command, url: &str) -> &'a mut Command {
        command
            .env("XDG_CACHE_HOME", self.cache())
            .env("DATA_DIR", self.dir.path().join("data"))
            .env("PG_FETCH_URL", url)
            .env("LISTEN", "127.0.0.1:0")
            .env("SHUTDOWN_DELAY_S", "0")
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
    }

    /// Starts the program, to be served by it or not.
    fn start(&self, url: &str) -> Running {
        let mut command = self.machine.run(Path::new(PROGRAM));
        Running::of(self.set(&mut command, url))
    }

    /// What the program says that does not start.
    fn refusal(&self, url: &str, settings: &[(&str, &str)]) -> String {
        let mut command = self.machine.run(Path::new(PROGRAM));
        Refusal::of(self.set(&mut command, url).envs(settings.iter().copied())).error
    }
}

/// How a program ended that was not to start.
struct Refusal {
    /// The first line of its error, which has three, with the ways to get a database in the last two.
    error: String,
    printed: String,
    logged: String,
}

impl Refusal {
    fn of(command: &mut Command) -> Self {
        let mut program = Running::of(command);
        let mut out = BufReader::new(program.0.stdout.take().unwrap());
        let mut printed = String::new();
        out.read_line(&mut printed).unwrap();
        assert!(!printed.contains("serves on"), "{printed}");
        out.read_to_string(&mut printed).unwrap();
        let logged = program.said();
        assert_eq!(program.0.wait().unwrap().code(), Some(1), "{logged}");
        let begin = logged.find("rejoinder: DATA_DIR").unwrap_or_else(|| panic!("{logged}"));
        let lines: Vec<&str> = logged[begin..].lines().collect();
        assert_eq!(lines.len(), 3, "{logged}");
        assert!(lines[1].contains("apt-get install") && lines[1].contains("brew install"));
        assert!(lines[2].contains("docker compose up") && lines[2].contains("DATABASE_URL"));
        Self {
            error: lines[0].to_owned(),
            printed,
            logged,
        }
    }
}

struct Running(Child);

impl Running {
    fn of(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until it serves, and returns where.
    fn url(&mut self) -> String {
        let mut greeting = String::new();
        let mut out = BufReader::new(self.0.stdout.as_mut().unwrap());
        out.read_line(&mut greeting).unwrap();
        let Some((_, url)) = greeting.trim().rsplit_once(' ') else {
            panic!("{}", self.said());
        };
        url.to_owned()
    }

    /// Ends it in order, and returns what it has logged.
    fn stop(mut self) -> String {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let said = self.said();
        assert!(self.0.wait().unwrap().success(), "{said}");
        said
    }

    fn said(&mut self) -> String {
        let mut said = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn is_ready(url: &str) -> bool {
    let answer = reqwest::get(format!("{url}/readyz")).await.unwrap();
    answer.status().is_success()
}

#[tokio::test]
async fn good_archive_is_fetched_once_and_serves() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let mut running = home.start(&mirror.url);
    assert!(is_ready(&running.url()).await);
    let lock_file = home.dir.path().join("data/postgres/cluster/postmaster.pid");
    let postmaster = fs::read_to_string(lock_file).unwrap();
    let postmaster = postmaster.lines().next().unwrap();
    let program = fs::read_link(format!("/proc/{postmaster}/exe")).unwrap();
    assert!(program.starts_with(home.kept().join(VERSION)), "{}", program.display());
    let said = running.stop();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("fetching")).collect();
    assert_eq!(told.len(), 1, "{said}");
    let place = home.kept().join(VERSION);
    for part in [VERSION, "no PostgreSQL is found", &mirror.url, place.to_str().unwrap()] {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
    assert_eq!((home.found(), mirror.asked()), (vec![VERSION.to_owned()], (1, 2)));

    let mut again = home.start(&mirror.url);
    assert!(is_ready(&again.url()).await);
    assert!(!again.stop().contains("fetching"));
    assert_eq!(mirror.asked(), (1, 2));
}

#[tokio::test]
async fn two_that_start_at_once_fetch_it_once() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let other = Home::new(machine);
    let mut command = machine.run(Path::new(PROGRAM));
    let of_other = home
        .set(&mut command, &mirror.url)
        .env("DATA_DIR", other.dir.path().join("data"));
    let mut two = [home.start(&mirror.url), Running::of(of_other)];
    for running in &mut two {
        assert!(is_ready(&running.url()).await);
    }
    assert_eq!((home.found(), mirror.asked()), (vec![VERSION.to_owned()], (1, 2)));
}

#[tokio::test]
async fn archive_that_is_not_what_its_checksum_says_is_refused() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::WithAnotherChecksum));
    let error = home.refusal(&mirror.url, &[]);
    let (found, expected) = (archive.sha256(), "0".repeat(64));
    assert!(
        error.contains(&format!("found the SHA-256 {found}, expected {expected}")),
        "{error}"
    );
    assert!(home.found().is_empty(), "{:?}", home.found());
}

#[tokio::test]
async fn download_that_is_cut_short_is_refused_and_tried_again_at_the_next_start() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::CutShort));
    let error = home.refusal(&mirror.url, &[]);
    assert!(error.contains("cut short after"), "{error}");
    assert!(home.found().is_empty(), "{:?}", home.found());

    mirror.becomes(Way::Whole);
    assert!(is_ready(&home.start(&mirror.url).url()).await);
    assert_eq!(mirror.asked(), (2, 4));
}

#[tokio::test]
async fn mirror_that_falls_silent_is_given_up() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Stuck));
    let begin = Instant::now();
    let error = home.refusal(&mirror.url, &[]);
    assert!(error.contains("no answer in time"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(home.found().is_empty(), "{:?}", home.found());
}

#[tokio::test]
async fn nothing_of_a_start_that_is_killed_is_taken_for_good() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Stuck));
    let killed = home.start(&mirror.url);
    while mirror.asked().0 == 0 {
        tokio::task::yield_now().await;
    }
    drop(killed);
    // As if it had been killed while it unpacked.
    let unfinished = home.kept().join(format!("{VERSION}.new/tree/bin"));
    fs::create_dir_all(&unfinished).unwrap();
    for program in ["initdb", "postgres"] {
        fs::write(unfinished.join(program), "half of it").unwrap();
    }

    mirror.becomes(Way::Whole);
    assert!(is_ready(&home.start(&mirror.url).url()).await);
    assert_eq!(home.found(), [VERSION]);
}

#[tokio::test]
async fn disk_that_is_full_keeps_nothing_of_it() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let mut command = machine.run_on_a_small_disk(Path::new(PROGRAM), &home.cache(), "2m");
    let refusal = Refusal::of(home.set(&mut command, &mirror.url));
    assert!(refusal.error.contains("No space left on device"), "{}", refusal.error);
    let left = refusal.printed;
    let last = left.lines().last().unwrap();
    assert_eq!(
        (left.lines().count(), Path::new(last)),
        (4, &*home.kept().join("lock")),
        "{left}"
    );
}

#[tokio::test]
async fn never_is_never() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let error = home.refusal(&mirror.url, &[("PG_FETCH", "never")]);
    assert!(error.contains("PG_FETCH=never"), "{error}");
    assert_eq!((home.found().len(), mirror.asked()), (0, (0, 0)));
}

#[tokio::test]
async fn without_a_network_the_error_says_so() {
    let Some((machine, _)) = machine().await else {
        return;
    };
    let home = Home::new(machine);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = home.refusal(&format!("http://{nobody}"), &[]);
    assert!(
        error.contains("none could be fetched") && error.contains("Connection refused"),
        "{error}"
    );
    assert!(home.found().is_empty(), "{:?}", home.found());
    let error = home.refusal("mirror.example/pg", &[]);
    assert!(error.contains("PG_FETCH_URL: found something else"), "{error}");
}

#[tokio::test]
async fn credentials_of_a_mirror_are_sent_and_not_shown() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::WithAnotherChecksum));
    mirror.wants_credentials();
    assert!(home.refusal(&mirror.url, &[]).contains("401 Unauthorized"));
    let url = mirror.url.replace("http://", &format!("http://{CREDENTIALS}@"));
    let mut command = machine.run(Path::new(PROGRAM));
    let refusal = Refusal::of(home.set(&mut command, &url));
    assert!(refusal.error.contains("found the SHA-256"), "{}", refusal.error);
    assert!(!refusal.logged.contains("hunter2"), "{}", refusal.logged);
}

#[tokio::test]
async fn archive_of_something_else_is_refused() {
    let Some((machine, _)) = machine().await else {
        return;
    };
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    tar.append_dir("postgresql/bin", "/").unwrap();
    for program in ["initdb", "postgres"] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let text = "#!/bin/sh\necho it wants a newer library >&2; exit 1\n";
        header.set_size(text.len() as u64);
        let path = format!("postgresql/bin/{program}");
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let archive = Box::leak(Box::new(Archive {
        bytes: tar.into_inner().unwrap().finish().unwrap(),
        bindir: PathBuf::new(),
    }));
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let error = home.refusal(&mirror.url, &[]);
    assert!(error.contains("does not run here: it wants a newer library"), "{error}");
    assert!(home.found().is_empty(), "{:?}", home.found());
}

#[tokio::test]
async fn tests_fetch_it_too() {
    let Some((machine, archive)) = machine().await else {
        return;
    };
    let (home, mirror) = (Home::new(machine), Mirror::start(archive, Way::Whole));
    let mut command = machine.run(&std::env::current_exe().unwrap());
    command.args(["--exact", "bot_of_another_process", "--ignored"]);
    let output = home.set(&mut command, &mirror.url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    // Past the harness, which keeps back what tests say that pass.
    assert!(said.contains(&format!("fetching {VERSION}")), "{said}");
    assert_eq!((home.found(), mirror.asked()), (vec![VERSION.to_owned()], (1, 2)));
}

async fn version(db: Db) -> Result<Reply, Fail> {
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&*db).await?;
    Ok(Reply::text(version))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test that another one runs"]
async fn bot_of_another_process() {
    let bot = TestBot::start(Bot::new().intent("Version", version)).await;
    let turn = json!({
        "responseId": "1",
        "session": "projects/p/agent/sessions/s",
        "queryResult": {"intent": {"displayName": "Version"}, "languageCode": "en"},
    });
    let version = bot.turn(&turn).await["fulfillmentText"].clone();
    assert!(
        version
            .as_str()
            .unwrap()
            .starts_with(|letter: char| letter.is_ascii_digit()),
        "{version}"
    );
}
