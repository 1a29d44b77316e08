//! Live secrets: those of a setting and those of its file, which may change while the service runs.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use super::AuthConfigError;
use crate::config;

/// A secret file is at most this long, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// How often secret files are looked at; a change is live after the second look that finds it.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// A shorter secret could be guessed by whoever may try often, in bytes.
pub(crate) const LEAST_BYTES: usize = 16;

/// One method's live secrets, in the form in which the method compares them.
pub(crate) struct Live<T> {
    kind: Kind<T>,
    inline: Vec<T>,
    file: Option<WatchedFile>,
    exposure: Exposure,
    current: ArcSwap<Vec<T>>,
}

/// Who can try to guess secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Programs of this machine: a secret that could be guessed is warned of.
    Loopback,
    /// Others: a secret that could be guessed is refused.
    Network,
}

impl Exposure {
    /// Who can reach this address.
    pub fn of(listen: SocketAddr) -> Self {
        match listen.ip().to_canonical().is_loopback() {
            true => Self::Loopback,
            false => Self::Network,
        }
    }
}

/// What a setting's secrets are called and how they are read.
pub(crate) struct Kind<T> {
    /// Name of the setting that holds the secrets themselves.
    pub(crate) setting: Cow<'static, str>,
    /// Name of the setting that names a file of them.
    pub(crate) file_setting: Cow<'static, str>,
    /// What the setting holds, for error messages.
    pub(crate) expected: &'static str,
    /// A shorter secret could be guessed, in bytes.
    pub(crate) least_bytes: usize,
    /// The lengths of a text's secrets that somebody could guess, in bytes, with the numbers of their lines.
    pub(crate) lengths: fn(&str) -> Vec<(usize, usize)>,
    /// Reads all secrets of a text; the error says which line is wrong and why, never what it holds.
    pub(crate) parse: fn(&str) -> Result<Vec<T>, String>,
}

struct WatchedFile {
    path: PathBuf,
    settled: Mutex<Settled<Reading>>,
}

/// What readings of files have last agreed on.
pub(crate) struct Settled<T> {
    applied: T,
    pending: Option<T>,
}

impl<T: PartialEq> Settled<T> {
    /// On this, the first reading.
    pub(crate) fn on(applied: T) -> Self {
        Self { applied, pending: None }
    }

    /// The reading that was applied last.
    pub(crate) fn applied(&self) -> &T {
        &self.applied
    }

    /// Whether `reading` is to be applied: it is another one than that applied last and, unless it is `wanted_now`, the
    /// second that agrees, so that nothing half-written is applied. One that turns out to be unusable counts as applied
    /// too, so that it is complained of once only.
    pub(crate) fn takes(&mut self, reading: T, wanted_now: bool) -> bool {
        if reading == self.applied {
            self.pending = None;
            return false;
        }
        if !wanted_now && self.pending.as_ref() != Some(&reading) {
            self.pending = Some(reading);
            return false;
        }
        self.applied = reading;
        self.pending = None;
        true
    }
}

/// A digest of what one reading of the file gave, be it secrets or an error.
type Reading = [u8; 32];

impl<T: Clone> Live<T> {
    /// A method that is not configured.
    pub(crate) fn none(kind: Kind<T>) -> Self {
        Self {
            kind,
            inline: Vec::new(),
            file: None,
            exposure: Exposure::Loopback,
            current: ArcSwap::default(),
        }
    }

    /// Reads what `variable` has for the setting and for that of its file.
    ///
    /// # Errors
    /// As [`Live::read`].
    pub(crate) fn of(
        kind: Kind<T>,
        variable: &dyn Fn(&str) -> Option<String>,
        exposure: Exposure,
    ) -> Result<Self, AuthConfigError> {
        let inline = variable(&kind.setting).map(SecretString::from);
        let file = variable(&kind.file_setting).map(PathBuf::from);
        Self::read(kind, inline.as_ref(), file.as_deref(), exposure)
    }

    /// Reads the setting and its file.
    ///
    /// # Errors
    /// When either is set and holds no secret, one that `kind` does not take, or one that those who can try could guess.
    pub(crate) fn read(
        kind: Kind<T>,
        inline: Option<&SecretString>,
        file: Option<&Path>,
        exposure: Exposure,
    ) -> Result<Self, AuthConfigError> {
        let inline = match inline.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty()) {
            Some(text) => secrets_of(&kind, text, exposure).map_err(|wrong| AuthConfigError {
                setting: kind.setting.clone(),
                wrong,
                expected: kind.expected,
            })?,
            None => Vec::new(),
        };
        let mut all = inline.clone();
        let file = match file.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => {
                let text = text_of(path);
                let applied = digest(&text);
                let secrets = text
                    .and_then(|text| secrets_of(&kind, &text, exposure))
                    .map_err(|wrong| AuthConfigError {
                        setting: kind.file_setting.clone(),
                        wrong: format!("{}: {wrong}", path.display()),
                        expected: kind.expected,
                    })?;
                all.extend(secrets);
                Some(WatchedFile {
                    path: path.to_owned(),
                    settled: Mutex::new(Settled::on(applied)),
                })
            }
            None => None,
        };
        Ok(Self {
            kind,
            inline,
            file,
            exposure,
            current: ArcSwap::from_pointee(all),
        })
    }

    /// Takes these secrets, for a method that has neither setting nor file.
    ///
    /// # Errors
    /// When there is none in it, or one that `kind` does not take; then it keeps those that it has.
    pub(crate) fn put(&self, text: &SecretString) -> Result<(), AuthConfigError> {
        let secrets = secrets_of(&self.kind, text.expose_secret(), self.exposure).map_err(|wrong| AuthConfigError {
            setting: self.kind.setting.clone(),
            wrong,
            expected: self.kind.expected,
        })?;
        self.current.store(Arc::new(secrets));
        Ok(())
    }

    /// The secrets of this moment; none when the method is not configured.
    pub(crate) fn current(&self) -> Arc<Vec<T>> {
        self.current.load_full()
    }

    /// Whether the method has any secret. It does not change: a file that becomes empty keeps its old secrets.
    pub(crate) fn is_configured(&self) -> bool {
        !self.current.load().is_empty()
    }

    /// Whether there is a file that may change.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Looks at the file and takes a change over once two readings agree, so that no half-written secret goes live.
    pub(crate) fn poll(&self) {
        self.refresh(false);
    }

    /// Looks at the file and takes a change over at once.
    pub(crate) fn reload(&self) {
        self.refresh(true);
    }

    fn refresh(&self, wanted_now: bool) {
        let Some(file) = &self.file else { return };
        let text = text_of(&file.path);
        let mut settled = file.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if !settled.takes(digest(&text), wanted_now) {
            return;
        }
        let (setting, path) = (&*self.kind.file_setting, file.path.display());
        match text.and_then(|text| secrets_of(&self.kind, &text, self.exposure)) {
            Ok(secrets) => {
                tracing::info!(setting, %path, count = secrets.len(), "file changed, what it holds is live");
                self.current
                    .store(Arc::new(self.inline.iter().cloned().chain(secrets).collect()));
            }
            Err(wrong) => tracing::warn!(setting, %path, wrong, "file is unusable, what it held before stays live"),
        }
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("setting", &self.kind.setting)
            .field("secrets", &self.current.load().len())
            .finish_non_exhaustive()
    }
}

/// Whether an environment variable may be called so.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The live secrets of the variable `name` and of the file that `name_FILE` names, as `parse` reads them. Read anew at each
/// use, so that a rotation needs no restart.
///
/// # Errors
/// When there is none, or one cannot be read; never with what it holds.
pub(crate) fn of_variable<T: Clone>(
    name: &str,
    expected: &'static str,
    parse: fn(&str) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, String> {
    let file_setting = format!("{name}_FILE");
    let kind = Kind {
        setting: name.to_owned().into(),
        file_setting: file_setting.clone().into(),
        expected,
        // How strong it is, is the other side's to say.
        least_bytes: 0,
        lengths: |_| Vec::new(),
        parse,
    };
    let live = Live::of(kind, &config::variable, Exposure::Loopback).map_err(|wrong| wrong.to_string())?;
    if !live.is_configured() {
        return Err(format!("found no secret in {name} or {file_setting}"));
    }
    Ok(live.current().to_vec())
}

/// Has `poll` look at the files of `secrets` every second, for as long as they are held elsewhere.
pub(crate) fn watch<T: Send + Sync + 'static>(runtime: &Handle, secrets: &Arc<T>, poll: fn(&T)) {
    let secrets = Arc::downgrade(secrets);
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(secrets) = secrets.upgrade() else { return };
            // A file may lie on a network and block.
            if let Err(error) = tokio::task::spawn_blocking(move || poll(&secrets)).await {
                tracing::error!(%error, "secret files are no longer watched");
                return;
            }
        }
    });
}

/// The lines that hold something, numbered from 1; white space around a secret is not part of it.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// The lengths of secrets that stand one a line.
pub(crate) fn line_lengths(text: &str) -> Vec<(usize, usize)> {
    lines(text).map(|(number, line)| (number, line.len())).collect()
}

fn secrets_of<T>(kind: &Kind<T>, text: &str, exposure: Exposure) -> Result<Vec<T>, String> {
    let secrets = (kind.parse)(text)?;
    if secrets.is_empty() {
        return Err("holds none".to_owned());
    }
    let least = kind.least_bytes;
    if let Some((line, bytes)) = (kind.lengths)(text).into_iter().find(|(_, bytes)| *bytes < least) {
        let short = format!("line {line} holds a secret of {bytes} bytes, which can be guessed");
        match exposure {
            Exposure::Loopback => {
                tracing::warn!(
                    setting = &*kind.setting,
                    least,
                    "{short}: off loopback it would be refused"
                );
            }
            Exposure::Network => return Err(format!("{short}: off loopback a secret has at least {least}")),
        }
    }
    Ok(secrets)
}

/// The text of a file of secrets, 64 KiB at most.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read the file: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is longer than {MAX_FILE_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    // Some editors start a file with a byte order mark, which would become part of the first secret.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn digest(reading: &Result<String, String>) -> Reading {
    let (tag, text) = match reading {
        Ok(text) => (b"text", text),
        Err(wrong) => (b"fail", wrong),
    };
    Sha256::new().chain_update(tag).chain_update(text).finalize().into()
}
