//! A process of the program: started, held, killed.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::site::eventually;

/// A running process; killed with SIGKILL when it is dropped.
pub(crate) struct Process {
    child: Child,
    greeting: Arc<OnceLock<String>>,
}

impl Process {
    /// Starts the program; what it logs is appended to `log`.
    #[expect(clippy::disallowed_methods, reason = "the test hands its PATH on")]
    pub(crate) fn start(arguments: &[&str], settings: &HashMap<&str, &str>, log: &Path) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rejoinder"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(settings)
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let greeting = Arc::new(OnceLock::new());
        let (said, heard) = (child.stdout.take().unwrap(), Arc::clone(&greeting));
        std::thread::spawn(move || {
            let mut said = BufReader::new(said);
            let mut line = String::new();
            if said.read_line(&mut line).is_ok_and(|length| length > 0) {
                heard.set(line.trim_end().to_owned()).unwrap();
            }
            said.read_to_end(&mut Vec::new()).ok();
        });
        Self { child, greeting }
    }

    /// Where it serves, once it does.
    pub(crate) fn url(&self) -> Option<String> {
        Some(self.greeting.get()?.rsplit_once(' ')?.1.to_owned())
    }

    /// Whether it has begun its work.
    pub(crate) fn is_started(&self) -> bool {
        self.greeting.get().is_some()
    }

    /// Waits until it has begun its work.
    pub(crate) async fn started(self) -> Self {
        eventually("the process has started", async || self.is_started()).await;
        self
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Holds it where it is.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Has it end in order.
    pub(crate) fn end(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
    }

    /// kill -9
    pub(crate) fn kill(self) {
        drop(self);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
