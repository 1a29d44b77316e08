//! What sources are read with, besides their files.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use crate::auth::Exposure;
use crate::clock::Clock;
use crate::config;
use crate::upstream::key_client;

/// Reads a variable of the environment, which may be a test's.
pub(crate) type Variable = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What sources are read with, besides their files.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Who can try to guess secrets.
    pub(crate) exposure: Exposure,
    /// By which signatures grow old.
    pub(crate) clock: Clock,
    /// Fetches keys and certificates.
    pub(crate) http: reqwest::Client,
    /// The secrets that were made for sources.
    pub(crate) made: MadeSecrets,
    /// Reads a variable of the environment.
    pub(crate) variable: Variable,
}

/// The secrets that were made for sources, by the source's name; clones share them.
#[derive(Clone, Default)]
pub(crate) struct MadeSecrets(Arc<Mutex<HashMap<String, SecretString>>>);

impl MadeSecrets {
    /// Remembers one, for sources that are read from now on.
    pub(crate) fn remember(&self, source: &str, secret: SecretString) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(source.to_owned(), secret);
    }

    pub(super) fn of(&self, source: &str) -> Option<SecretString> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(source)
            .cloned()
    }
}

impl Surroundings {
    /// On loopback, with the secrets of the environment, and none that were made yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            exposure: Exposure::Loopback,
            clock,
            http: key_client()?,
            made: MadeSecrets::default(),
            variable: Arc::new(config::variable),
        })
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}
