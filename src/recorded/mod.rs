//! Recorded turns: files that hold a request and what must come back.
//!
//! ```json
//! {
//!   "about": "one line: what this turn shows",
//!   "request": { "responseId": "…", "session": "…", "queryResult": { } },
//!   "status": 200,
//!   "reply_has": { "fulfillmentText": "…" }
//! }
//! ```
//!
//! `about` and `status` (200) may be left out. `reply` is the exact reply; `reply_has` holds the parts of it that
//! matter. With neither the turn has no reply yet, and fails until one is accepted.

mod difference;
mod play;
mod redact;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use self::difference::Extent;
pub(crate) use self::difference::{Difference, Mismatch};
pub(crate) use self::play::play;
pub(crate) use self::redact::Redactor;
pub(crate) use self::report::{Outcome, Played, Report};
use crate::platform::{self, EsApi};
use crate::running::Came;

const OK: u16 = 200;

/// A request and what must come back.
#[derive(Clone, Debug)]
pub(crate) struct RecordedTurn {
    /// Its file.
    pub(crate) file: PathBuf,
    about: Option<String>,
    /// As it stands in the file, byte for byte.
    request: Box<RawValue>,
    status: u16,
    expected: Expected,
}

/// What must come back.
#[derive(Clone, Debug)]
enum Expected {
    /// This reply.
    Reply(Value),
    /// A reply with these parts.
    Parts(Value),
    /// Not known yet.
    Nothing,
}

/// A recorded turn as it stands in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: Option<String>,
    request: Box<RawValue>,
    status: Option<u16>,
    reply: Option<Value>,
    reply_has: Option<Value>,
}

impl RecordedTurn {
    /// A turn that came through, to be written to `file`.
    ///
    /// # Errors
    /// Never for values read from JSON.
    pub(crate) fn new(file: PathBuf, about: String, request: &Value, came: Came) -> anyhow::Result<Self> {
        Ok(Self {
            file,
            about: Some(about),
            request: RawValue::from_string(indented(request)?)?,
            status: came.status,
            expected: Expected::Reply(came.body),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// With the file's name, when it cannot be read or is not a recorded turn.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let read = || {
            let written: Written = serde_json::from_slice(&fs::read(file)?)?;
            let expected = match (written.reply, written.reply_has) {
                (Some(reply), None) => Expected::Reply(reply),
                (None, Some(parts)) => Expected::Parts(parts),
                (None, None) => Expected::Nothing,
                (Some(_), Some(_)) => bail!("found both reply and reply_has, expected one of them"),
            };
            let status = written.status.unwrap_or(OK);
            if !(200..600).contains(&status) {
                bail!("status: found {status}, expected 200 to 599");
            }
            Ok(Self {
                file: file.to_owned(),
                about: written.about,
                request: written.request,
                status,
                expected,
            })
        };
        read().with_context(|| format!("{} is not a recorded turn", file.display()))
    }

    /// Reads files, and all `*.json` files below directories, in the order of their names.
    ///
    /// # Errors
    /// When a path cannot be read, one of the files is not a recorded turn, or there is none.
    pub(crate) fn read_all(paths: &[impl AsRef<Path>]) -> anyhow::Result<Vec<Self>> {
        let mut turns = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            let found = files(path).with_context(|| format!("cannot read {}", path.display()))?;
            if found.is_empty() {
                bail!("found no *.json file below {}", path.display());
            }
            for file in found {
                turns.push(Self::read(&file)?);
            }
        }
        Ok(turns)
    }

    /// What the request asks for, by the name it has in the table of intents; empty where it is not a turn.
    pub(crate) fn intent(&self) -> String {
        intent(&self.body())
    }

    /// The request's bytes.
    pub(crate) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(self.request.get().as_bytes())
    }

    /// How `came` differs from what must come back; `None` when it does not.
    pub(crate) fn mismatch(&self, came: &Came) -> Option<Mismatch> {
        let mut mismatch = match &self.expected {
            Expected::Reply(reply) => Mismatch::between(Extent::Whole, reply, &came.body),
            Expected::Parts(parts) => Mismatch::between(Extent::Parts, parts, &came.body),
            Expected::Nothing => Mismatch::unknown(&came.body),
        };
        if self.status != came.status {
            mismatch.differences.insert(
                0,
                Difference {
                    path: "status".to_owned(),
                    expected: Some(self.status.into()),
                    came: Some(came.status.into()),
                },
            );
        }
        (!mismatch.differences.is_empty()).then_some(mismatch)
    }

    /// This turn as `came` wants it: an exact reply is replaced, the parts that matter keep their keys.
    #[must_use]
    pub(crate) fn accepting(&self, came: &Came) -> Self {
        let expected = match &self.expected {
            Expected::Reply(reply) => Expected::Reply(difference::accepted(Extent::Whole, reply, &came.body)),
            Expected::Parts(parts) => Expected::Parts(difference::accepted(Extent::Parts, parts, &came.body)),
            Expected::Nothing => Expected::Reply(came.body.clone()),
        };
        Self {
            status: came.status,
            expected,
            ..self.clone()
        }
    }

    /// Whether an answer of this status can be what the file stands for. One that says nothing of the turn (callers
    /// refused, the service failing) only is when the file names it already.
    pub(crate) fn may_accept(&self, status: u16) -> bool {
        status == self.status || !says_nothing_of_the_turn(status)
    }

    /// The file's text. The request stays as it was.
    ///
    /// # Errors
    /// Never for values read from JSON.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let mut fields = Vec::new();
        if let Some(about) = &self.about {
            fields.push(("about", to_raw_value(about)?.get().to_owned()));
        }
        fields.push(("request", self.request.get().to_owned()));
        if self.status != OK {
            fields.push(("status", self.status.to_string()));
        }
        match &self.expected {
            Expected::Reply(reply) => fields.push(("reply", indented(reply)?)),
            Expected::Parts(parts) => fields.push(("reply_has", indented(parts)?)),
            Expected::Nothing => {}
        }
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(key, value)| format!("  \"{key}\": {value}"))
            .collect();
        Ok(format!("{{\n{}\n}}\n", fields.join(",\n")))
    }

    /// Writes the file in place of the old one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        fs::write(&self.file, self.text()?).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// Whether `status` is about the caller or the service's health, not about the turn.
pub(crate) fn says_nothing_of_the_turn(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 429 | 500..=599)
}

/// What the request `body` asks for, by the name it has in the table of intents; empty where it is not a turn.
pub(crate) fn intent(body: &[u8]) -> String {
    let Ok(turn) = platform::decode(body, EsApi::Auto) else {
        return String::new();
    };
    [turn.intent, turn.tag, turn.action, turn.event]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// `value` over several lines, as it stands one level deep.
fn indented(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?.replace('\n', "\n  "))
}

/// `path` itself, or all `*.json` files below it, in the order of their names.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        // A link to a directory is not followed: it may lead back here.
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.path().extension().is_some_and(|extension| extension == "json") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
