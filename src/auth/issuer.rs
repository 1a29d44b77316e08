//! An OAuth 2.0 issuer: where it publishes its keys, and where it takes tokens and gives them out.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Deserializer};
use url::{Host, Url, form_urlencoded};

use super::Why;
use super::jwks::Jwks;
use super::published::{Published, get};
use super::token::short;
use crate::clock::Clock;

/// An issuer whose metadata is read when it is needed, kept, and read again.
pub(crate) struct Issuer {
    http: Client,
    clock: Clock,
    metadata: Published<Metadata>,
    /// The keys at the address that the metadata has named last.
    keys: Mutex<Option<Jwks>>,
}

/// What an issuer says of itself (RFC 8414, OpenID Connect Discovery 1.0).
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    #[serde(default, deserialize_with = "url")]
    jwks_uri: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    introspection_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    pub(crate) token_endpoint: Option<Url>,
}

impl Issuer {
    /// Fetches nothing yet.
    pub(super) fn new(issuer: Url, name: String, http: Client, clock: Clock) -> Self {
        let from = http.clone();
        let told = name.clone();
        let fetch = move || {
            let (http, issuer, name) = (from.clone(), issuer.clone(), name.clone());
            async move { discover(&http, &issuer, &name).await }.boxed()
        };
        Self {
            metadata: Published::new(told, clock.clone(), Box::new(fetch)),
            http,
            clock,
            keys: Mutex::new(None),
        }
    }

    /// Its keys; waits for its metadata, two seconds at most, when there is none that is usable.
    pub(super) async fn keys(&self) -> Result<Jwks, Why> {
        let metadata = self.metadata.usable().await.ok_or(Why::KeysUnavailable)?;
        let url = expect_trusted("jwks_uri", metadata.value.jwks_uri.as_ref())?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*keys {
            Some(known) if known.url() == url => known.clone(),
            Some(_) | None => {
                let new = Jwks::new(url.clone(), self.http.clone(), self.clock.clone());
                keys.insert(new).clone()
            }
        })
    }

    /// Where it says whether a token is good; waits as [`Issuer::keys`].
    pub(super) async fn introspection_endpoint(&self) -> Result<Url, Why> {
        let unavailable = || Why::NotJudged("its metadata cannot be fetched".to_owned());
        let metadata = self.metadata.usable().await.ok_or_else(unavailable)?;
        expect_trusted("introspection_endpoint", metadata.value.introspection_endpoint.as_ref()).cloned()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// Reads an issuer's metadata, and for how many seconds it is fresh; `name` is the issuer as it is set, letter by letter.
///
/// # Errors
/// When neither document can be had, or what can be had is another issuer's (RFC 8414, 3.3).
pub(crate) async fn discover(http: &Client, issuer: &Url, name: &str) -> anyhow::Result<(Metadata, i64)> {
    let mut wrong = Vec::new();
    for url in documents(issuer) {
        match read(http, &url, name).await {
            Ok(found) => return Ok(found),
            Err(error) => wrong.push(format!("{}: {error:#}", url.path())),
        }
    }
    bail!("{}", wrong.join("; "))
}

async fn read(http: &Client, url: &Url, name: &str) -> anyhow::Result<(Metadata, i64)> {
    let (body, fresh_seconds) = get(http, url).await?;
    let metadata: Metadata = serde_json::from_slice(&body).context("no metadata of an issuer")?;
    let found = &metadata.issuer;
    ensure!(found == name, "found issuer {:?}, expected {name:?}", short(found));
    Ok((metadata, fresh_seconds))
}

/// Where the metadata may be: OpenID Connect has the well-known path behind that of the issuer, RFC 8414 (3.1) before it.
fn documents(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: &str| {
        let mut url = issuer.clone();
        url.set_path(path);
        url
    };
    [
        at(&format!("{path}/.well-known/openid-configuration")),
        at(&format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

/// Whether nobody on the way can change what comes from there.
pub(super) fn is_trusted(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

fn expect_trusted<'a>(name: &str, url: Option<&'a Url>) -> Result<&'a Url, Why> {
    url.filter(|url| is_trusted(url))
        .ok_or_else(|| Why::NotJudged(format!("its metadata has no {name} that is an https URL")))
}

// One that is none is as one that is not there: it may be of no use to us.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| Url::parse(&text).ok()))
}

/// How a client shows who it is: HTTP Basic, both halves encoded as those of a form (RFC 6749, 2.3.1).
///
/// # Errors
/// Never: base64 is made of what a header may hold.
pub(crate) fn client_basic(client_id: &str, secret: &str) -> anyhow::Result<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(secret));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| anyhow!("the client's credentials cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_paths_stand_behind_and_before_that_of_the_issuer() {
        let of = |issuer: &str| documents(&Url::parse(issuer).unwrap()).map(String::from);
        let whole = |paths: [&str; 2]| paths.map(|path| format!("https://id.example{path}"));
        assert_eq!(
            of("https://id.example"),
            whole([
                "/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server"
            ])
        );
        for issuer in ["https://id.example/shop/eu", "https://id.example/shop/eu/"] {
            assert_eq!(
                of(issuer),
                whole([
                    "/shop/eu/.well-known/openid-configuration",
                    "/.well-known/oauth-authorization-server/shop/eu"
                ])
            );
        }
    }

    #[test]
    fn halves_of_a_clients_credentials_are_encoded_as_those_of_a_form() {
        let value = client_basic("shop:eu", "a b+%ä").unwrap();
        let pair = STANDARD.decode(value.to_str().unwrap().strip_prefix("Basic ").unwrap());
        assert_eq!(pair.unwrap(), b"shop%3Aeu:a+b%2B%25%C3%A4");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
