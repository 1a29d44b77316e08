//! An events directory of a test's own.

use std::path::{Path, PathBuf};

use rejoinder::testing::TestSettings;
use tempfile::TempDir;

/// Where its files lie; gone at the end of the test.
pub(crate) struct Directory(TempDir);

impl Directory {
    /// A copy of the package's, so that a test changes only what it is about.
    pub(crate) fn copied() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        copy_all(&package(), copy.path());
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub(crate) fn with(self, file: &str, text: &str) -> Self {
        self.write(file, text);
        self
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes it the bot's, and the place of the secrets that it generates.
    pub(crate) fn set(&self, settings: &mut TestSettings) {
        settings.events.events_dir = self.path().to_owned();
        settings.data_dir = self.data_dir();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes the secrets of a source whose secret is `generated`, one a line, the current one first.
    pub(crate) fn secrets(&self, source: &str, lines: &[&str]) {
        self.write(&format!("data/secrets/{source}"), &(lines.join("\n") + "\n"));
    }
}

/// The package's events directory.
pub(crate) fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
