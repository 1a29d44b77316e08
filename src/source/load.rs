//! All sources: their files read, their secrets found and watched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use toml::Spanned;

use super::file::{EventTable, FormatName, HandshakeTable, LimitsTable, SchemeTable, SourceFile};
use super::handshake::Asks;
use super::mapping::Mapping;
use super::providers::PROVIDERS;
use super::scheme::Scheme;
use super::secret::{self, Reading};
use super::surroundings::Surroundings;
use super::{Format, Limits, Source};
use crate::auth::secrets::watch;
use crate::event::catalogue::Violation;
use crate::event::event_type;
use crate::event::file::{self, FileError};
use crate::event::pattern::{self, Pattern};

/// A source's name is at most this long, in bytes.
const MAX_NAME: usize = 64;

/// The sources, by name. While this is held, their secret files are watched.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_name: Arc<BTreeMap<Arc<str>, Arc<Source>>>,
    /// What the types of each provider begin with, also of one whose file is wrong.
    prefixes: Vec<String>,
}

impl Sources {
    /// Reads the files of `dir`, and of the program those that are not in it, and inside a tokio runtime starts to watch the files of secrets. A source whose file is
    /// as it was in `before` is taken from there, with the keys and certificates that it has fetched.
    ///
    /// What is wrong is told with it; a source whose file is wrong is not among them. A secret that is not set is not
    /// wrong: such a source is not [configured](Source::is_configured).
    pub(crate) fn load(dir: &Path, surroundings: &Surroundings, before: Option<&Self>) -> (Self, Vec<FileError>) {
        let mut found = Found::default();
        let files = file::list(dir, "toml").unwrap_or_else(|error| {
            found.errors.push(error);
            Vec::new()
        });
        let before = |name: &str| before.and_then(|before| before.get(name));
        let of_the_program = PROVIDERS.iter().filter_map(|(name, text)| {
            let file = Path::new(name).with_extension("toml");
            (!files.contains(&dir.join(&file))).then_some((file, *text))
        });
        let of_the_program: Vec<_> = of_the_program.collect();
        for path in files {
            match file::text(&path) {
                Ok(text) => found.read(path, &text, surroundings, before),
                Err(error) => found.errors.push(error),
            }
        }
        let warned = found.errors.len();
        for (path, text) in of_the_program {
            found.read(path, text, surroundings, before);
        }
        // What might be better in these is in the manual, for nobody here can mend it.
        let of_the_program = found.errors.split_off(warned);
        found
            .errors
            .extend(of_the_program.into_iter().filter(FileError::is_error));
        found.check_types();
        let by_name = found
            .sources
            .into_iter()
            .map(|read| (Arc::clone(&read.source.name), read.source));
        let by_name = Arc::new(by_name.collect::<BTreeMap<_, _>>());
        if let Ok(runtime) = Handle::try_current()
            && by_name.values().any(|source| source.secrets.has_file())
        {
            watch(&runtime, &by_name, |sources| {
                sources.values().for_each(|source| source.secrets.poll());
            });
        }
        let sources = Self {
            by_name,
            prefixes: found.prefixes,
        };
        (sources, found.errors)
    }

    /// The source of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.by_name.get(name)
    }

    /// All sources, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.by_name.values()
    }

    /// What the types of each provider begin with that has a file.
    pub(crate) fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// What is wrong with an event of this type that comes from `source`: its file does not say that it may send it, or
    /// it is another provider's.
    pub(crate) fn forbids(&self, source: &Source, event_type: &str) -> Option<Violation> {
        let prefixes = self.prefixes.iter().filter(|prefix| event_type.starts_with(*prefix));
        let owner = prefixes.max_by_key(|prefix| prefix.len());
        let is_anothers = owner.is_some() && owner != source.type_prefix.as_ref();
        let is_listed = source.types.iter().any(|pattern| pattern.matches(event_type));
        if is_listed && !is_anothers {
            return None;
        }
        let message = match owner {
            Some(prefix) if is_anothers => {
                format!(
                    "found {event_type}, expected a type that is not the provider's whose types begin with {prefix}"
                )
            }
            _ => format!(
                "found {event_type}, expected a type that the source {} may send: {}",
                source.name,
                source
                    .types
                    .iter()
                    .map(Pattern::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        Some(Violation::new("/event_type", &message))
    }
}

/// What the files of a directory came to.
#[derive(Default)]
struct Found {
    sources: Vec<Read>,
    prefixes: Vec<String>,
    errors: Vec<FileError>,
}

/// A source, and where in its file it lists types.
struct Read {
    source: Arc<Source>,
    path: PathBuf,
    /// Each type that the file lists, with the error that it is to be if it is another source's.
    listed: Listed,
}

impl Found {
    fn read<'a>(
        &mut self,
        path: PathBuf,
        text: &str,
        surroundings: &Surroundings,
        before: impl Fn(&str) -> Option<&'a Arc<Source>>,
    ) {
        self.prefixes.extend(prefix_of(text));
        let (source, listed) = match read(&path, text, surroundings, &mut self.errors) {
            Ok(read) => read,
            Err(error) => return self.errors.push(error),
        };
        let unchanged = before(&source.name).filter(|before| before.file == source.file && before.is_configured());
        let source = unchanged.map_or_else(|| Arc::new(source), Arc::clone);
        self.sources.push(Read { source, path, listed });
    }

    /// A source lists no types of a provider that has a file of its own.
    fn check_types(&mut self) {
        for read in &self.sources {
            for (pattern, error) in &read.listed {
                let owner = self.sources.iter().find(|other| {
                    let prefix = other.source.type_prefix.as_deref();
                    other.source.type_prefix != read.source.type_prefix
                        && prefix.is_some_and(|prefix| pattern.is_within(prefix))
                });
                if let Some(owner) = owner {
                    let message = format!(
                        "types: found {:?}, expected no types of another source: those are {}'s",
                        pattern.to_string(),
                        owner.path.file_name().unwrap_or_default().to_string_lossy()
                    );
                    self.errors.push(FileError {
                        message,
                        ..error.clone()
                    });
                }
            }
        }
    }
}

/// What a provider's types begin with, also where its file is wrong elsewhere.
fn prefix_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Provider {
        event: Types,
    }
    #[derive(Deserialize)]
    struct Types {
        type_prefix: String,
    }
    let provider: Provider = toml::from_str(text).ok()?;
    let prefix = event_type::normal(&provider.event.type_prefix);
    (!prefix.is_empty()).then_some(prefix)
}

type Listed = Vec<(Pattern, FileError)>;

fn read(
    path: &Path,
    text: &str,
    surroundings: &Surroundings,
    warnings: &mut Vec<FileError>,
) -> Result<(Source, Listed), FileError> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_letter) || name == "rejoinder" {
        return Err(FileError::whole(
            path,
            format_args!("found the name {name:?}, expected up to {MAX_NAME} of [a-z0-9_-], and not `rejoinder`"),
        ));
    }
    let at = |offset: usize, message: String| FileError::at(path, text, offset, message);
    let SourceFile {
        priority,
        types,
        format,
        secret: secret_table,
        scheme,
        handshake,
        event,
        limits,
    } = file::toml(path, text)?;
    let limits = limits_of(limits).map_err(|(offset, message)| at(offset, message))?;
    let scheme_at = scheme.span().start;
    let scheme_error = |message: String| at(scheme_at, message);

    let scheme_table = scheme.into_inner();
    let reading = match &scheme_table {
        SchemeTable::StandardWebhooks {} => Reading::Standard,
        SchemeTable::Jwt { .. } => Reading::Jwt,
        SchemeTable::Stripe { .. }
        | SchemeTable::Github { .. }
        | SchemeTable::Shopify { .. }
        | SchemeTable::Slack { .. }
        | SchemeTable::Zoom { .. }
        | SchemeTable::Meta { .. }
        | SchemeTable::Square { .. }
        | SchemeTable::Twilio { .. }
        | SchemeTable::Paypal { .. }
        | SchemeTable::Hmac { .. }
        | SchemeTable::Basic { .. }
        | SchemeTable::Bearer { .. }
        | SchemeTable::Msgraph { .. } => Reading::Plain,
    };
    let needs_secret = !matches!(&scheme_table, SchemeTable::Jwt { jwks_url: Some(_), .. });
    let setting = match &secret_table.env {
        Some(setting) if needs_secret => setting.get_ref().as_str(),
        None if !needs_secret => "",
        Some(setting) => {
            let message = "env: the issuer publishes its keys, expected no variable beside jwks_url";
            return Err(at(setting.span().start, message.to_owned()));
        }
        None => {
            return Err(scheme_error(
                "secret.env: found nothing, expected the name of a variable".to_owned(),
            ));
        }
    };
    let secrets = match setting {
        "" => secret::none(),
        setting => secret::live(setting, reading, surroundings.exposure, &*surroundings.variable)
            .map_err(|error| FileError::whole(path, error))?,
    };
    let mut missing = Vec::new();
    let has_made_secret = secret_table.generated && !setting.is_empty() && !secrets.is_configured();
    if has_made_secret {
        if let Some(made) = surroundings.made.of(name) {
            secrets.put(&made).map_err(|error| FileError::whole(path, error))?;
        }
    } else if !setting.is_empty() && !secrets.is_configured() {
        missing.push(setting.to_owned());
    }
    let mut variable = |name: &str| {
        let value = (surroundings.variable)(name);
        if value.is_none() {
            missing.push(name.to_owned());
        }
        value.unwrap_or_default()
    };
    let type_prefix = type_prefix_of(event.as_ref()).map_err(|(offset, message)| at(offset, message))?;
    let listed = listed_types(types, type_prefix.as_deref(), &at)?;
    let is_signed = |header: &str| scheme_table.signs(header);
    let mut type_is_signed = true;
    let format = match (format, event) {
        (FormatName::Envelope, None) => Format::Own,
        (FormatName::CloudEvents, None) => Format::CloudEvents,
        (FormatName::Mapped, Some(event)) => {
            let mapping = Mapping::read(event).map_err(|bad| at(bad.offset, bad.message))?;
            type_is_signed = mapping.type_headers().all(is_signed);
            if let Some((header, offset)) = mapping.id_headers().find(|(header, _)| !is_signed(header)) {
                let message = format!(
                    "event_id: found the header {header}, which is not signed: whoever has seen a request can make new \
                     events of it; expected what the body says, or sha256"
                );
                warnings.push(at(offset, message).into_warning());
            }
            Format::Mapped(Box::new(mapping))
        }
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
    let scheme = Scheme::of(scheme_table, surroundings, &mut variable).map_err(scheme_error)?;
    let asks = handshake.map(|table| asks_of(table, &mut variable));
    let types = match (listed.is_empty(), &type_prefix) {
        (false, _) => listed.iter().map(|(pattern, _)| pattern.clone()).collect(),
        (true, Some(prefix)) => vec![Pattern::Family(prefix.clone())],
        (true, None) => vec![Pattern::Family(String::new())],
    };
    let source = Source {
        name: name.into(),
        priority,
        limits,
        types,
        type_prefix,
        type_is_signed,
        scheme,
        secrets,
        has_made_secret,
        asks,
        format,
        missing,
        file: Sha256::digest(text).into(),
        clock: surroundings.clock.clone(),
    };
    Ok((source, listed))
}

fn limits_of(table: LimitsTable) -> Result<Limits, (usize, String)> {
    fn of<T: TryFrom<u64>>(name: &str, number: Option<Spanned<u64>>, default: T) -> Result<T, (usize, String)> {
        let Some(number) = number else { return Ok(default) };
        let found = *number.get_ref();
        let limit = T::try_from(found).ok().filter(|_| found > 0);
        limit.ok_or_else(|| {
            let message = format!("limits.{name}: found {found}, expected a whole number from 1");
            (number.span().start, message)
        })
    }
    let default = Limits::default();
    Ok(Limits {
        body_bytes: of("body_bytes", table.body_bytes, default.body_bytes)?,
        batch_items: of("batch_items", table.batch_items, default.batch_items)?,
        deadline_ms: of("deadline_ms", table.deadline_ms, default.deadline_ms)?,
        tolerance_s: of("tolerance_s", table.tolerance_s, default.tolerance_s)?,
    })
}

/// What the types of a mapped source begin with.
fn type_prefix_of(event: Option<&EventTable>) -> Result<Option<String>, (usize, String)> {
    let Some(written) = event.and_then(|event| event.type_prefix.as_ref()) else {
        return Ok(None);
    };
    let prefix = event_type::normal(written.get_ref());
    match Pattern::parse(&format!("{prefix}*")) {
        Some(_) => Ok(Some(prefix).filter(|prefix| !prefix.is_empty())),
        None => Err((
            written.span().start,
            format!(
                "type_prefix: found {:?}, expected the beginning of a type, such as \"acme.\"",
                written.get_ref()
            ),
        )),
    }
}

/// The types that a file lists, each with the error that it is to be if it is another source's.
fn listed_types(
    types: Option<Spanned<Vec<Spanned<String>>>>,
    prefix: Option<&str>,
    at: &impl Fn(usize, String) -> FileError,
) -> Result<Listed, FileError> {
    let Some(types) = types else { return Ok(Vec::new()) };
    if types.get_ref().is_empty() {
        let message = "types: found none, expected those that it may send, such as [\"order.*\"]";
        return Err(at(types.span().start, message.to_owned()));
    }
    let listed = types.into_inner().into_iter().map(|written| {
        let (offset, text) = (written.span().start, written.into_inner());
        let Some(pattern) = Pattern::parse(&text) else {
            let message = format!("types: found {text:?}, expected {}", pattern::EXPECTED);
            return Err(at(offset, message));
        };
        if let Some(prefix) = prefix.filter(|prefix| !pattern.is_within(prefix)) {
            let message = format!("types: found {text:?}, expected what begins with the type_prefix {prefix}");
            return Err(at(offset, message));
        }
        let error = at(offset, String::new());
        Ok((pattern, error))
    });
    listed.collect()
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
