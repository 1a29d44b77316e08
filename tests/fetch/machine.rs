//! A machine without PostgreSQL: this one, with what it has of it hidden from a process.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::Uid;

/// Where PostgreSQL is on machines, beside the place that is known of this one.
const PLACES: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/pgsql"];

/// Mounts on each of `$HIDDEN` something empty, and runs the rest in their sight alone. Nothing is on its PATH.
const HIDE: &str = r#"for dir in $HIDDEN; do mount -t tmpfs tmpfs "$dir" || exit 99; done
unset HIDDEN; PATH=/nowhere; export PATH; exec "$0" "$@""#;

/// The same, with `$CACHE` a disk of `$SIZE`, and tells what is on it in the end.
const HIDE_ON_A_SMALL_DISK: &str = r#"for dir in $HIDDEN; do mount -t tmpfs tmpfs "$dir" || exit 99; done
mount -t tmpfs -o "size=$SIZE,mode=0755" tmpfs "$CACHE" || exit 99
PATH=/nowhere "$0" "$@"; code=$?; find "$CACHE"; exit $code"#;

#[derive(Debug)]
pub(crate) struct Machine {
    hidden: String,
}

impl Machine {
    /// With its programs hidden; none where no process may hide anything, which is told.
    pub(crate) fn without(bindir: &Path) -> Option<Self> {
        let mut hidden: Vec<PathBuf> = PLACES.iter().map(PathBuf::from).filter(|dir| dir.is_dir()).collect();
        let is_hidden = hidden.iter().any(|dir| bindir.starts_with(dir));
        // What else is in /usr/bin is needed; it is on no PATH.
        if !is_hidden && bindir != Path::new("/usr/bin") {
            hidden.push(bindir.to_owned());
        }
        let hidden: Vec<&str> = hidden.iter().map(|dir| dir.to_str().unwrap()).collect();
        let machine = Self {
            hidden: hidden.join(" "),
        };
        let why = match machine.run(Path::new("/bin/true")).output() {
            Ok(Output { status, .. }) if status.success() => return Some(machine),
            Ok(Output { stderr, .. }) => String::from_utf8_lossy(&stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // Not by `eprintln!`, which is kept back where the test passes.
        let mut told = io::stderr();
        writeln!(
            told,
            "SKIPPED: fetching PostgreSQL, since this machine's cannot be hidden: {why}"
        )
        .unwrap();
        None
    }

    /// Runs a program there, with no settings.
    pub(crate) fn run(&self, program: &Path) -> Command {
        self.command(HIDE, program)
    }

    /// With the directory `cache` on a disk of `size`; prints what is on it in the end.
    pub(crate) fn run_on_a_small_disk(&self, program: &Path, cache: &Path, size: &str) -> Command {
        let mut command = self.command(HIDE_ON_A_SMALL_DISK, program);
        command.env("CACHE", cache).env("SIZE", size);
        command
    }

    fn command(&self, script: &str, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        if !Uid::effective().is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.arg("--mount").args(["/bin/sh", "-c", script]).arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HIDDEN", &self.hidden);
        command
    }
}
