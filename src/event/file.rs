//! The files of the events directory: read with the place of each error.

mod wording;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::wording::plain;
pub(crate) use self::wording::{braces, instead_of_method};

/// A file is at most this long, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub(crate) struct FileError {
    /// The file, or the directory that cannot be read.
    pub(crate) file: PathBuf,
    /// From 1; 0 where the error is about the file as a whole.
    pub(crate) line: usize,
    /// From 1, in characters; 0 where the error is about the file as a whole.
    pub(crate) column: usize,
    /// What was found, and what was expected.
    pub(crate) message: String,
    /// Whether the file can be used all the same.
    pub(crate) severity: Severity,
}

/// What comes of something that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The file is not put in force.
    Error,
    /// It is, but is hardly meant so.
    Warning,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if self.severity == Severity::Warning {
            f.write_str(" warning:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl FileError {
    /// About the file as a whole.
    pub(crate) fn whole(file: &Path, message: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: message.to_string(),
            severity: Severity::Error,
        }
    }

    /// About the place at byte `offset` of the file's `text`.
    pub(crate) fn at(file: &Path, text: &str, offset: usize, message: impl fmt::Display) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let before = String::from_utf8_lossy(before);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.to_string(),
            severity: Severity::Error,
        }
    }

    /// The same, of a file that can be used all the same.
    pub(crate) fn into_warning(self) -> Self {
        Self {
            severity: Severity::Warning,
            ..self
        }
    }

    /// Whether the file cannot be used.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The text of a file.
pub(crate) fn text(file: &Path) -> Result<String, FileError> {
    let length = std::fs::metadata(file)
        .map_err(|error| FileError::whole(file, error))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(FileError::whole(
            file,
            format_args!("found {length} bytes, expected at most {MAX_FILE_BYTES}"),
        ));
    }
    std::fs::read_to_string(file).map_err(|error| FileError::whole(file, error))
}

/// Reads the `text` of a TOML file; errors say line and column.
pub(crate) fn toml<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| match error.span() {
        Some(span) => FileError::at(file, text, span.start, plain(error.message())),
        None => FileError::whole(file, plain(error.message())),
    })
}

/// The files of `dir` with this extension, by name; a directory that is not there has none.
pub(crate) fn list(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, FileError> {
    let mut files = all_in(dir)?;
    files.retain(|path| path.is_file() && path.extension().is_some_and(|found| found == extension));
    Ok(files)
}

/// The value, or its default with the error noted.
pub(crate) fn noted<T: Default>(result: Result<T, FileError>, errors: &mut Vec<FileError>) -> T {
    result.unwrap_or_else(|error| {
        errors.push(error);
        T::default()
    })
}

/// What is in a directory, by name, without hidden files; one that is not there is empty.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = all_in(dir)?;
    paths.retain(|path| !file_name(path).starts_with('.'));
    Ok(paths)
}

fn all_in(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let found = match std::fs::read_dir(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::whole(dir, error)),
    };
    let paths = found.map(|entry| Ok(entry.map_err(|error| FileError::whole(dir, error))?.path()));
    let mut paths = paths.collect::<Result<Vec<_>, FileError>>()?;
    paths.sort();
    Ok(paths)
}

/// Its name in its directory.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_an_error_is_told_in_characters() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[expect(dead_code, reason = "only read")]
            name: String,
        }
        let text = "# für\nname = \"ü\"\nnmae = 1\n";
        let error = toml::<Shape>(Path::new("a.toml"), text).unwrap_err();
        assert_eq!((error.line, error.column), (3, 1));
        assert!(
            error
                .to_string()
                .starts_with("a.toml:3:1: found the key nmae, expected name"),
            "{error}"
        );
    }
}
