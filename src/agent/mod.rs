//! An agent's sources, as Dialogflow exports them: from where the webhook is called, by which names, and what it understands.

mod cx;
mod es;
mod fit;
mod package;
pub(crate) mod spoken;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use self::fit::misfits;
pub(crate) use self::package::{Package, pack};
use crate::bot::{By, Intent};
use crate::event::file::FileError;
use crate::json::without_place;

/// The agent of a directory.
#[derive(Debug)]
pub(crate) struct Agent {
    dir: PathBuf,
    kind: AgentKind,
    /// The places from which the webhook is called.
    calls: Vec<Call>,
    /// The intents that answer by themselves, with their files (ES).
    silent: Vec<(String, PathBuf)>,
    /// Whether the agent calls any webhook at all.
    is_on: bool,
}

/// Which Dialogflow an agent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgentKind {
    Es,
    Cx,
}

/// A place from which the webhook is called, with the names that a bot may know it by. What it lacks is empty.
#[derive(Debug, Default)]
struct Call {
    file: PathBuf,
    intent: String,
    action: String,
    tag: String,
    events: Vec<String>,
    /// Whether it is made where nothing has matched.
    is_fallback: bool,
    /// The names of the parameters that the agent fills.
    parameters: Vec<String>,
}

/// What `agent.json` tells of both kinds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    /// ES.
    language: Option<String>,
    /// ES; those besides.
    #[serde(default)]
    supported_languages: Vec<String>,
    /// ES.
    default_timezone: Option<String>,
    /// CX.
    default_language_code: Option<String>,
    /// ES; not there where none has ever been set.
    webhook: Option<Webhook>,
}

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    available: bool,
}

impl Agent {
    /// Reads the agent of `dir`.
    ///
    /// # Errors
    /// The first file that is not there, is no JSON, or is not as Dialogflow writes it.
    pub(crate) fn read(dir: &Path) -> Result<Self, FileError> {
        let head = Head::read(dir)?;
        match head.kind(dir)? {
            AgentKind::Es => {
                let is_on = head.webhook.is_some_and(|webhook| webhook.available);
                es::read(dir, is_on)
            }
            AgentKind::Cx => cx::read(dir),
        }
    }

    /// How many places call the webhook.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }
}

impl Head {
    fn read(dir: &Path) -> Result<Self, FileError> {
        let file = dir.join("agent.json");
        match std::fs::metadata(&file) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(FileError::whole(
                    dir,
                    "found no agent.json, expected the directory that an agent's export is unpacked into",
                ))
            }
            Ok(_) | Err(_) => json(&file),
        }
    }

    fn kind(&self, dir: &Path) -> Result<AgentKind, FileError> {
        match (&self.language, &self.default_language_code) {
            (Some(_), None) => Ok(AgentKind::Es),
            (None, Some(_)) => Ok(AgentKind::Cx),
            (Some(_), Some(_)) | (None, None) => Err(FileError::whole(
                &dir.join("agent.json"),
                "expected either a language (Dialogflow ES) or a defaultLanguageCode (CX)",
            )),
        }
    }
}

impl Call {
    /// Whether the bot may answer it by this handler.
    fn leads_to(&self, handler: &Intent) -> bool {
        let name = &handler.name;
        match handler.by {
            By::Intent => [&self.intent, &self.tag].contains(&name),
            By::Tag => self.tag == *name,
            By::Action => self.action == *name,
            By::Event => self.events.contains(name),
            By::Fallback => self.is_fallback,
        }
    }

    /// The name it is told by.
    fn name(&self) -> &str {
        let names = [&self.intent, &self.tag, &self.action];
        names
            .into_iter()
            .chain(&self.events)
            .find(|name| !name.is_empty())
            .map_or("(none)", String::as_str)
    }
}

/// Reads a JSON file; errors say line and column.
fn json<T: DeserializeOwned>(file: &Path) -> Result<T, FileError> {
    let bytes = std::fs::read(file).map_err(|error| FileError::whole(file, error))?;
    serde_json::from_slice(&bytes).map_err(|error| FileError {
        line: error.line(),
        column: error.column(),
        ..FileError::whole(file, without_place(&error))
    })
}
