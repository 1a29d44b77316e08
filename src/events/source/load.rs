//! All sources: their files read, their secrets found and watched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use tokio::runtime::Handle;
use url::Url;

use super::file::{FormatName, HandshakeTable, SchemeTable, SourceFile};
use super::handshake::Asks;
use super::mapping::Mapping;
use super::paypal::{Paypal, Trust};
use super::scheme::Scheme;
use super::secret::{self, Reading};
use super::signed::Signed;
use super::{Format, Source};
use crate::auth::Exposure;
use crate::auth::jwks::Jwks;
use crate::auth::jwt::JwtCheck;
use crate::auth::secrets::watch;
use crate::clock::Clock;
use crate::config;
use crate::events::file::{self, FileError};

/// A source's name is at most this long, in bytes.
const MAX_NAME: usize = 64;

/// The sources, by name. While this is held, their secret files are watched.
#[derive(Debug)]
pub(crate) struct Sources(Arc<BTreeMap<Arc<str>, Arc<Source>>>);

/// What a file is read with.
struct Surroundings<'a> {
    data_dir: &'a Path,
    exposure: Exposure,
    clock: Clock,
    http: reqwest::Client,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Sources {
    /// Reads the files of `dir`, with secrets from the environment and from `data_dir`, and inside a tokio runtime
    /// starts to watch the files of secrets.
    ///
    /// # Errors
    /// What is wrong with each file. A secret that is not set is not: such a source is not
    /// [configured](Source::is_configured).
    pub(crate) fn load(
        dir: &Path,
        data_dir: &Path,
        exposure: Exposure,
        clock: Clock,
        http: reqwest::Client,
    ) -> Result<Self, Vec<FileError>> {
        Self::load_with(dir, data_dir, exposure, clock, http, &config::variable)
    }

    /// As [`load`](Self::load), with the environment of a test.
    pub(super) fn load_with(
        dir: &Path,
        data_dir: &Path,
        exposure: Exposure,
        clock: Clock,
        http: reqwest::Client,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<FileError>> {
        let surroundings = Surroundings {
            data_dir,
            exposure,
            clock,
            http,
            variable,
        };
        let mut sources = BTreeMap::new();
        let mut errors = Vec::new();
        for path in file::list(dir, "toml").map_err(|error| vec![error])? {
            match read(&path, &surroundings) {
                Ok(source) => {
                    sources.insert(Arc::clone(&source.name), Arc::new(source));
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let sources = Arc::new(sources);
        if let Ok(runtime) = Handle::try_current()
            && sources.values().any(|source| source.secrets.has_file())
        {
            watch(&runtime, &sources, |sources| {
                sources.values().for_each(|source| source.secrets.poll());
            });
        }
        Ok(Self(sources))
    }

    /// The source of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.0.get(name)
    }

    /// All sources, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.0.values()
    }
}

/// What the types of each provider begin with that has a file in `dir`.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn prefixes(dir: &Path) -> Result<Vec<String>, FileError> {
    #[derive(Deserialize)]
    struct Provider {
        event: Option<Types>,
    }
    #[derive(Deserialize)]
    struct Types {
        #[serde(default)]
        type_prefix: String,
    }
    let mut prefixes = Vec::new();
    for path in file::list(dir, "toml")? {
        let provider: Provider = file::toml(&path, &file::text(&path)?)?;
        prefixes.extend(provider.event.map(|types| types.type_prefix));
    }
    prefixes.retain(|prefix| !prefix.is_empty());
    Ok(prefixes)
}

fn read(path: &Path, surroundings: &Surroundings<'_>) -> Result<Source, FileError> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_letter) || name == "rejoinder" {
        return Err(FileError::whole(
            path,
            format_args!("found the name {name:?}, expected up to {MAX_NAME} of [a-z0-9_-], and not `rejoinder`"),
        ));
    }
    let text = file::text(path)?;
    let SourceFile {
        priority,
        format,
        secret: secret_table,
        scheme,
        handshake,
        event,
        limits,
    } = file::toml(path, &text)?;
    if limits.body_bytes == 0 || limits.batch_items == 0 || limits.deadline_ms == 0 || limits.tolerance_s <= 0 {
        return Err(FileError::whole(
            path,
            format_args!("limits: found {limits:?}, expected numbers from 1"),
        ));
    }
    let mut missing = Vec::new();
    let scheme_at = scheme.span().start;
    let scheme_error = |message: String| FileError::at(path, &text, scheme_at, message);

    let scheme_table = scheme.into_inner();
    let reading = match &scheme_table {
        SchemeTable::StandardWebhooks {} => Reading::Standard,
        SchemeTable::Jwt { .. } => Reading::Jwt,
        _ => Reading::Plain,
    };
    let needs_secret = !matches!(&scheme_table, SchemeTable::Jwt { jwks_url: Some(_), .. });
    let setting = match &secret_table.env {
        Some(setting) if needs_secret => setting.get_ref().as_str(),
        None if !needs_secret => "",
        Some(setting) => {
            let message = "env: the issuer publishes its keys, expected no variable beside jwks_url";
            return Err(FileError::at(path, &text, setting.span().start, message));
        }
        None => {
            return Err(scheme_error(
                "secret.env: found nothing, expected the name of a variable".to_owned(),
            ));
        }
    };
    let secrets = match setting {
        "" => secret::none(),
        setting => {
            let made = || {
                if !secret_table.generated {
                    return None;
                }
                match secret::made(surroundings.data_dir, name) {
                    Ok(file) => Some(file),
                    Err(error) => {
                        tracing::warn!(source = name, error = format!("{error:#}"), "no secret could be made");
                        None
                    }
                }
            };
            secret::live(setting, reading, surroundings.exposure, surroundings.variable, made)
                .map_err(|error| FileError::whole(path, error))?
        }
    };
    if !setting.is_empty() && !secrets.is_configured() {
        missing.push(setting.to_owned());
    }
    let mut variable = |name: &str| {
        let value = (surroundings.variable)(name);
        if value.is_none() {
            missing.push(name.to_owned());
        }
        value.unwrap_or_default()
    };
    let scheme = scheme_of(scheme_table, surroundings, &mut variable).map_err(scheme_error)?;
    let asks = handshake.map(|table| asks_of(table, &mut variable));
    let format = match (format, event) {
        (FormatName::Envelope, None) => Format::Own,
        (FormatName::CloudEvents, None) => Format::CloudEvents,
        (FormatName::Mapped, Some(event)) => Format::Mapped(Box::new(
            Mapping::read(event).map_err(|bad| FileError::at(path, &text, bad.offset, bad.message))?,
        )),
        (FormatName::Mapped, None) => {
            return Err(FileError::whole(
                path,
                "event: found nothing, expected it, for format is \"mapped\"",
            ));
        }
        (FormatName::Envelope | FormatName::CloudEvents, Some(_)) => {
            return Err(FileError::whole(
                path,
                "event: expected it only where format is \"mapped\"",
            ));
        }
    };
    Ok(Source {
        name: name.into(),
        priority,
        limits,
        scheme,
        secrets,
        asks,
        format,
        missing,
        clock: surroundings.clock.clone(),
    })
}

fn scheme_of(
    table: SchemeTable,
    surroundings: &Surroundings<'_>,
    variable: &mut dyn FnMut(&str) -> String,
) -> Result<Scheme, String> {
    Ok(match table {
        SchemeTable::StandardWebhooks {} => Scheme::Standard,
        SchemeTable::Stripe {} => Scheme::Signed(Signed::stripe()),
        SchemeTable::Github {} | SchemeTable::Meta {} => Scheme::Signed(Signed::hub()),
        SchemeTable::Shopify {} => Scheme::Signed(Signed::shopify()),
        SchemeTable::Slack {} => Scheme::Signed(Signed::slack()),
        SchemeTable::Zoom {} => Scheme::Signed(Signed::zoom()),
        SchemeTable::Square { url_env } => Scheme::Signed(Signed::square(variable(&url_env))),
        SchemeTable::Twilio { url_env } => Scheme::Twilio(variable(&url_env)),
        SchemeTable::Paypal {} => Scheme::Paypal(Paypal::new(surroundings.http.clone(), Trust::system())),
        SchemeTable::Hmac {
            header,
            prefix,
            encoding,
            algorithm,
            signed,
            timestamp,
        } => Scheme::Signed(Signed::described(
            &header, prefix, encoding, algorithm, &signed, timestamp,
        )?),
        SchemeTable::Basic {} => Scheme::Basic,
        SchemeTable::Bearer {} => Scheme::Bearer,
        SchemeTable::Msgraph {} => Scheme::ClientState,
        SchemeTable::Jwt {
            issuer,
            audience,
            jwks_url,
        } => Scheme::Jwt(Box::new(JwtCheck {
            clock: surroundings.clock.clone(),
            issuers: issuer,
            audiences: audience,
            scopes: Vec::new(),
            published: jwks_url.map(|url| published(&url, surroundings)).transpose()?,
        })),
    })
}

fn published(url: &str, surroundings: &Surroundings<'_>) -> Result<Jwks, String> {
    let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https");
    let parsed = parsed.ok_or_else(|| format!("jwks_url: found {url:?}, expected an https URL"))?;
    let keys = Jwks::new(parsed, surroundings.http.clone(), surroundings.clock.clone());
    if Handle::try_current().is_ok() {
        keys.fetch_in_background();
    }
    Ok(keys)
}

fn asks_of(table: HandshakeTable, variable: &mut dyn FnMut(&str) -> String) -> Asks {
    match table {
        HandshakeTable::Slack {} => Asks::Slack,
        HandshakeTable::Zoom {} => Asks::Zoom,
        HandshakeTable::Msgraph {} => Asks::Msgraph,
        HandshakeTable::Cloudevents { origins } => Asks::CloudEvents { origins },
        HandshakeTable::Meta { token_env } => Asks::Meta {
            token: variable(&token_env),
        },
    }
}
