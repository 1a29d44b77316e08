//! Where files may lie in the events directory: what lies elsewhere is read by nobody.

use std::path::Path;

use super::file::{FileError, entries, file_name, noted};
use crate::nearest::did_you_mean;

/// The directories that are read. That of schemas tells what is wrong in it by itself.
const DIRECTORIES: [&str; 4] = ["sources", "schemas", "reactions", "channels"];

/// Extensions of files that somebody may take for read.
const LOOKS_READ: [&str; 5] = ["toml", "json", "yaml", "yml", "jinja"];

/// What nobody reads: directories and files of another name.
pub(crate) fn check(events_dir: &Path) -> Vec<FileError> {
    if !events_dir.is_dir() {
        let message = format!("found no such directory, expected one with {}", DIRECTORIES.join(", "));
        return vec![FileError::whole(events_dir, message)];
    }
    let mut errors = Vec::new();
    for path in noted(entries(events_dir), &mut errors) {
        let name = file_name(&path);
        if path.is_dir() && !DIRECTORIES.contains(&name.as_str()) {
            let meant = did_you_mean(&name, DIRECTORIES);
            let message = format!(
                "nobody reads this directory, expected {}{meant}",
                DIRECTORIES.join(", ")
            );
            errors.push(FileError::whole(&path, message));
        } else if path.is_file() && LOOKS_READ.contains(&extension_of(&path).as_str()) {
            let message = format!(
                "nobody reads this file, expected it in one of {}",
                DIRECTORIES.join(", ")
            );
            errors.push(FileError::whole(&path, message));
        }
    }
    for directory in ["sources", "reactions", "channels"] {
        for path in noted(entries(&events_dir.join(directory)), &mut errors) {
            let extension = extension_of(&path);
            if path.is_dir() {
                errors.push(FileError::whole(
                    &path,
                    "nobody reads this directory, expected files <name>.toml",
                ));
            } else if extension != "toml" && LOOKS_READ.contains(&extension.as_str()) {
                errors.push(FileError::whole(&path, "nobody reads this file, expected <name>.toml"));
            }
        }
    }
    errors
}

fn extension_of(path: &Path) -> String {
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase()
}
