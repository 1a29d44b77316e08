//! Channels: where notifications go other than the chat window, one file each in `events/channels`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;

use super::outbox::{CALL, CHAT};
use crate::address;
use crate::auth::secrets::{lines, of_variable};
use crate::client_credentials::ClientCredentials;
use crate::event::file::{self, FileError};

/// A webhook that notifications are posted to.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(super) url: Url,
    /// The variable with the secret that requests are signed with.
    pub(super) secret_env: Option<String>,
    /// Whose token requests bear.
    pub(super) oauth: Option<ClientCredentials>,
    pub(super) timeout: Duration,
    pub(super) allow_private: bool,
}

/// The channels, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels(BTreeMap<String, Channel>);

/// A channel's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelFile {
    url: toml::Spanned<String>,
    secret_env: Option<String>,
    oauth: Option<toml::Spanned<ClientCredentials>>,
    timeout_ms: Option<toml::Spanned<u64>>,
    #[serde(default)]
    allow_private: bool,
}

/// How long a request may take where nothing is said.
const TIMEOUT_MS: u64 = 10_000;

/// The longest that may be said.
pub(super) const MAX_TIMEOUT_MS: u64 = 30_000;

/// Gives the channels that are in force now: they change when their files do.
pub(crate) type ChannelsInForce = Arc<dyn Fn() -> Arc<Channels> + Send + Sync>;

impl Channels {
    /// Reads all files of `dir`; where there is no such directory there are no channels. Whether the secrets are there is
    /// not looked at: who only takes events in, or checks files, need not have them.
    ///
    /// # Errors
    /// All that is wrong, with the place of each.
    pub(crate) fn load(dir: &Path) -> Result<Self, Vec<FileError>> {
        let files = file::list(dir, "toml").map_err(|error| vec![error])?;
        let (mut channels, mut errors) = (BTreeMap::new(), Vec::new());
        for path in files {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            match read(&path, name) {
                Ok(channel) => drop(channels.insert(name.to_owned(), channel)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(Self(channels))
        } else {
            Err(errors)
        }
    }

    /// The channels that have no secret now, with what is wrong.
    pub(crate) fn without_secret(&self) -> impl Iterator<Item = (&str, String)> {
        let channels = self.0.iter();
        channels.flat_map(|(name, channel)| {
            let of_client = channel.oauth.as_ref().map(ClientCredentials::secret_variable);
            let variables = channel.secret_env.as_deref().into_iter().chain(of_client);
            variables.filter_map(|variable| Some((name.as_str(), secrets(variable).err()?)))
        })
    }

    /// The channel of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Channel> {
        self.0.get(name)
    }
}

fn read(path: &Path, name: &str) -> Result<Channel, FileError> {
    if [CHAT, CALL, ""].contains(&name) {
        return Err(FileError::whole(
            path,
            format_args!("found a channel named {name:?}, expected another name"),
        ));
    }
    let text = file::text(path)?;
    let found: ChannelFile = file::toml(path, &text)?;
    let at = |offset: usize, message: String| FileError::at(path, &text, offset, message);
    let url_at = found.url.span().start;
    let url = Url::parse(found.url.get_ref())
        .map_err(|error| at(url_at, format!("url: found {:?}, {error}", found.url.get_ref())))?;
    address::check(&url, found.allow_private).map_err(|error| at(url_at, format!("url: {error}")))?;
    let timeout_ms = found
        .timeout_ms
        .as_ref()
        .map_or(TIMEOUT_MS, |timeout| *timeout.get_ref());
    if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
        let offset = found.timeout_ms.map_or(0, |timeout| timeout.span().start);
        return Err(at(
            offset,
            format!("timeout_ms: found {timeout_ms}, expected 1 to {MAX_TIMEOUT_MS}"),
        ));
    }
    if let Some(oauth) = &found.oauth
        && let Some(problem) = oauth.get_ref().problem(found.allow_private)
    {
        return Err(at(oauth.span().start, format!("oauth: {problem}")));
    }
    if found.secret_env.is_none() && found.oauth.is_none() {
        let message = "found neither secret_env nor oauth, expected one of them, or both";
        return Err(at(0, message.to_owned()));
    }
    Ok(Channel {
        url,
        secret_env: found.secret_env,
        oauth: found.oauth.map(toml::Spanned::into_inner),
        timeout: Duration::from_millis(timeout_ms),
        allow_private: found.allow_private,
    })
}

/// The live secrets of the variable `name` and of the file that `name_FILE` names, one a line: `whsec_` and base64, or
/// any other text. Read anew at each use, so that a rotation needs no restart.
///
/// # Errors
/// When there is none, or one cannot be read; never with what it holds.
pub(crate) fn secrets(name: &str) -> Result<Vec<Vec<u8>>, String> {
    let expected = "`whsec_` and base64, or any other text, one a line";
    let parse = |text: &str| lines(text).map(|(number, line)| secret(number, line)).collect();
    of_variable(name, expected, parse)
}

fn secret(number: usize, line: &str) -> Result<Vec<u8>, String> {
    match line.strip_prefix("whsec_") {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_| format!("line {number} is no base64 after whsec_")),
        None => Ok(line.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(file: &str, text: &str) -> Result<Channels, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        Channels::load(dir.path()).map_err(|errors| {
            let error = &errors[0];
            format!("{}:{}: {}", error.line, error.column, error.message)
        })
    }

    #[test]
    fn file_that_is_wrong_is_refused_with_the_place() {
        let refused = |text: &str| loaded("crm.toml", text).unwrap_err();
        assert_eq!(
            refused("url = \"http://10.0.0.1/\"\nsecret_env = \"NO_SUCH_SECRET\""),
            "1:7: url: 10.0.0.1 is no public address"
        );
        assert_eq!(
            refused("url = \"https://crm.example.com/\"\nsecret_env = \"A\"\ntimeout_ms = 0"),
            "3:14: timeout_ms: found 0, expected 1 to 30000"
        );
        let oauth = |table: &str| refused(&format!("url = \"https://crm.example/\"\noauth = {{ {table} }}"));
        let client = "client_id = 'shop', client_secret = 'CRM_CLIENT'";
        assert_eq!(
            oauth(&format!("{client}, token_url = 'https://10.0.0.1/token'")),
            "2:9: oauth: token_url: 10.0.0.1 is no public address"
        );
        assert_eq!(
            oauth(&format!("{client}, issuer = 'http://id.example'")),
            "2:9: oauth: issuer: found plain http, expected https, or allow_private = true"
        );
        assert_eq!(
            oauth(client),
            "2:9: oauth: found neither token_url nor issuer, expected one of them"
        );
        assert_eq!(
            oauth("token_url = 'https://id.example', client_id = 'shop', client_secret = 'hunter 2'"),
            "2:9: oauth: client_secret: expected the name of an environment variable"
        );
        assert_eq!(
            oauth(&format!("{client}, issuer = 'https://id.example', scopes = ['a b']")),
            "2:9: oauth: scopes: found \"a b\", expected scopes, one each"
        );
        assert_eq!(
            refused("url = \"https://crm.example.com/\""),
            "1:1: found neither secret_env nor oauth, expected one of them, or both"
        );
        let refused = loaded("chat.toml", "").unwrap_err();
        assert_eq!(refused, "0:0: found a channel named \"chat\", expected another name");
    }

    #[test]
    fn channel_without_a_secret_is_named() {
        let text = "url = \"https://crm.example.com/\"\nsecret_env = \"NO_SUCH_SECRET\"";
        let channels = loaded("crm.toml", text).unwrap();
        let wrong = "found no secret in NO_SUCH_SECRET or NO_SUCH_SECRET_FILE".to_owned();
        assert_eq!(channels.without_secret().collect::<Vec<_>>(), [("crm", wrong.clone())]);
        let text = "url = \"https://crm.example.com/\"\n[oauth]\nissuer = \"https://id.example\"\nclient_id = \"shop\"\n\
                    client_secret = \"NO_SUCH_SECRET\"";
        let channels = loaded("crm.toml", text).unwrap();
        assert_eq!(channels.without_secret().collect::<Vec<_>>(), [("crm", wrong)]);
    }

    #[test]
    fn directory_that_is_not_there_has_no_channels() {
        let channels = Channels::load(Path::new("/no/such/directory")).unwrap();
        assert!(channels.get("chat").is_none());
    }
}
