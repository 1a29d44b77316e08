//! OAuth 2.0 client credentials (RFC 6749, 4.4): who the service is to an issuer, and the tokens that calls bear.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use reqwest::Client;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use crate::address;
use crate::auth::issuer::{client_basic, discover};
use crate::auth::published::body;
use crate::auth::secrets::{is_variable, lines, of_variable};
use crate::clock::Clock;

/// A client of an OAuth 2.0 issuer, which is given tokens in its own name: where it asks for them, who it is, and for
/// what.
///
/// It holds the name of the variable that has the client's secret, not the secret; `<NAME>_FILE` names a file of it. Both
/// are read when a token is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    client_id: String,
    /// The variable's name.
    client_secret: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

impl ClientCredentials {
    /// The client `client_id`, whose secret is in the variable `client_secret`, with tokens from `token_url`.
    pub fn new(token_url: &str, client_id: &str, client_secret: &str) -> Self {
        Self {
            token_url: Some(token_url.to_owned()),
            issuer: None,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            scopes: Vec::new(),
            audience: None,
            resource: None,
        }
    }

    /// As [`new`](Self::new), with tokens from where the issuer's metadata says.
    pub fn of_issuer(issuer: &str, client_id: &str, client_secret: &str) -> Self {
        Self {
            token_url: None,
            issuer: Some(issuer.to_owned()),
            ..Self::new("", client_id, client_secret)
        }
    }

    /// Asks for these scopes.
    #[must_use]
    pub fn scopes(self, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Self { scopes, ..self }
    }

    /// Asks for tokens for this service, where the issuer goes by `audience`.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        let audience = Some(audience.to_owned());
        Self { audience, ..self }
    }

    /// Asks for tokens for this service, where the issuer goes by `resource` (RFC 8707).
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        let resource = Some(resource.to_owned());
        Self { resource, ..self }
    }

    /// The variable that holds the client's secret.
    pub(crate) fn secret_variable(&self) -> &str {
        &self.client_secret
    }

    /// What is wrong with it where a file says it; private addresses, and plain http, only where `allow_private`.
    pub(crate) fn problem(&self, allow_private: bool) -> Option<String> {
        let (name, url) = match (&self.token_url, &self.issuer) {
            (Some(url), None) => ("token_url", url),
            (None, Some(url)) => ("issuer", url),
            (Some(_), Some(_)) => return Some("found token_url and issuer, expected one of them".to_owned()),
            (None, None) => return Some("found neither token_url nor issuer, expected one of them".to_owned()),
        };
        let parsed = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(error) => return Some(format!("{name}: found {url:?}, {error}")),
        };
        if let Some(problem) = not_allowed(&parsed, allow_private) {
            return Some(format!("{name}: {problem}"));
        }
        if self.client_id.is_empty() {
            return Some("client_id: found \"\", expected the client's id".to_owned());
        }
        if !is_variable(&self.client_secret) {
            // It may be the secret itself.
            return Some("client_secret: expected the name of an environment variable".to_owned());
        }
        let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
        let wrong = self.scopes.iter().find(|scope| !is_scope(scope))?;
        Some(format!("scopes: found {wrong:?}, expected scopes, one each"))
    }

    /// The client's secret: the first line, where there are several.
    fn secret(&self) -> anyhow::Result<String> {
        let expected = "the client's secret, on one line";
        let parse = |text: &str| Ok(lines(text).map(|(_, line)| line.to_owned()).collect());
        let secrets = of_variable(&self.client_secret, expected, parse).map_err(|wrong| anyhow!("{wrong}"))?;
        secrets.into_iter().next().context("found no secret")
    }

    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        for (name, value) in [("audience", &self.audience), ("resource", &self.resource)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        form.finish()
    }
}

/// One fetch of a token, of the issuer's metadata and of the token itself.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// How long before its end a token is renewed: a minute, or a fifth of its life where that is less.
const MAX_AHEAD: TimeDelta = TimeDelta::minutes(1);
/// How long a token is good where the issuer does not say, and the longest that it may say.
const DEFAULT_LIFE: TimeDelta = TimeDelta::minutes(5);
const MAX_LIFE: TimeDelta = TimeDelta::days(1);
/// How long the issuer is left alone after a fetch that failed: while there is no token, and while the old one is good.
const REST: TimeDelta = TimeDelta::seconds(1);
const REST_WITH_TOKEN: TimeDelta = TimeDelta::seconds(10);
/// Clients whose tokens are kept at most.
const MAX_CLIENTS: u64 = 1_000;

/// The tokens of clients: each is fetched when it is needed, once for all who wait, and kept until it is about to end.
/// Clones share them.
#[derive(Clone)]
pub(crate) struct Tokens {
    clock: Clock,
    places: Cache<(ClientCredentials, bool), Arc<Place>>,
}

/// Where one client's token is.
#[derive(Default)]
struct Place {
    token: ArcSwapOption<Token>,
    /// Held by the fetch in flight; when the last one failed, and why.
    flight: Mutex<Option<(DateTime<Utc>, String)>>,
}

#[derive(Clone)]
struct Token {
    bearer: HeaderValue,
    renewed_from: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl Tokens {
    pub(crate) fn new(clock: Clock) -> Self {
        let places = Cache::new(MAX_CLIENTS);
        Self { clock, places }
    }

    /// The value of `Authorization` for a call of this client. `http` asks for a token where there is none that lasts: it
    /// follows no redirects, and reaches public addresses only unless `allow_private`.
    ///
    /// # Errors
    /// When no token can be had within 10 seconds; never with a secret.
    pub(crate) async fn bearer(
        &self,
        client: &ClientCredentials,
        http: &Client,
        allow_private: bool,
    ) -> anyhow::Result<HeaderValue> {
        let place = self.place(client, allow_private);
        if let Some(token) = self.lasting(&place) {
            return Ok(token.bearer.clone());
        }
        let mut failed = place.flight.lock().await;
        if let Some(token) = self.lasting(&place) {
            return Ok(token.bearer.clone());
        }
        let now = self.clock.now();
        if let Some((at, why)) = &*failed
            && (TimeDelta::zero()..REST).contains(&(now - *at))
        {
            bail!("{why}");
        }
        let fetched = tokio::time::timeout(FETCH_LIMIT, fetch(client, http, allow_private)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", FETCH_LIMIT.as_secs())));
        let wrong = match fetched {
            Ok((bearer, life)) => {
                let ahead = MAX_AHEAD.min(life / 5);
                place.token.store(Some(Arc::new(Token {
                    bearer: bearer.clone(),
                    renewed_from: now + life - ahead,
                    ends_at: now + life,
                })));
                *failed = None;
                return Ok(bearer);
            }
            Err(error) => format!("no token: {error:#}"),
        };
        if let Some(old) = place.token.load_full().filter(|old| now < old.ends_at) {
            tracing::warn!(client.id = client.client_id, "a token cannot be renewed yet: {wrong}");
            place.token.store(Some(Arc::new(Token {
                renewed_from: now + REST_WITH_TOKEN,
                ..Token::clone(&old)
            })));
            return Ok(old.bearer.clone());
        }
        *failed = Some((self.clock.now(), wrong.clone()));
        Err(anyhow!("{wrong}"))
    }

    /// Drops a token that was refused, unless there is another one already.
    pub(crate) fn refuse(&self, client: &ClientCredentials, allow_private: bool, bearer: &HeaderValue) {
        let place = self.place(client, allow_private);
        let token = place.token.load();
        if token.as_ref().is_some_and(|token| token.bearer == bearer) {
            place.token.compare_and_swap(&token, None);
        }
    }

    fn place(&self, client: &ClientCredentials, allow_private: bool) -> Arc<Place> {
        self.places
            .get_with((client.clone(), allow_private), Arc::<Place>::default)
    }

    /// The token, unless it is to be renewed.
    fn lasting(&self, place: &Place) -> Option<Arc<Token>> {
        let now = self.clock.now();
        let token = place.token.load_full()?;
        (now < token.renewed_from && now < token.ends_at).then_some(token)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Why a client does not show its secret there: plain http, and private addresses, are only called where `allow_private`.
fn not_allowed(url: &Url, allow_private: bool) -> Option<String> {
    let problem = address::problem(url, allow_private);
    let is_plain = url.scheme() == "http" && !allow_private;
    problem.or_else(|| is_plain.then(|| "found plain http, expected https, or allow_private = true".to_owned()))
}

fn expect_allowed(url: Url, allow_private: bool) -> anyhow::Result<Url> {
    match not_allowed(&url, allow_private) {
        Some(problem) => Err(anyhow!("{problem}")),
        None => Ok(url),
    }
}

/// A token, and how long it is good.
async fn fetch(
    client: &ClientCredentials,
    http: &Client,
    allow_private: bool,
) -> anyhow::Result<(HeaderValue, TimeDelta)> {
    let allowed = |text: &str| expect_allowed(Url::parse(text)?, allow_private);
    let url = match (&client.token_url, &client.issuer) {
        (Some(url), _) => allowed(url).context("token_url")?,
        (None, Some(name)) => {
            let issuer = allowed(name).context("issuer")?;
            let (metadata, _) = discover(http, &issuer, name).await.context("issuer")?;
            let url = metadata.token_endpoint.context("issuer: no token_endpoint")?;
            expect_allowed(url, allow_private).context("token_endpoint")?
        }
        (None, None) => bail!("neither token_url nor issuer"),
    };
    let request = http
        .post(url)
        .header(AUTHORIZATION, client_basic(&client.client_id, &client.secret()?)?)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(client.form());
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let answer: Map<String, Value> = serde_json::from_slice(&body(response).await?).unwrap_or_default();
    if !status.is_success() {
        let code = answer.get("error").and_then(Value::as_str).unwrap_or_default();
        // One of RFC 6749, 5.2, and nothing else that the issuer may say: it knows the secret.
        let known = [
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "invalid_target",
        ];
        let code = known.into_iter().find(|known| *known == code);
        bail!(
            "status {status}{}",
            code.map(|code| format!(", {code}")).unwrap_or_default()
        );
    }
    read(&answer)
}

fn read(answer: &Map<String, Value>) -> anyhow::Result<(HeaderValue, TimeDelta)> {
    let text = |name| answer.get(name).and_then(Value::as_str);
    let token = text("access_token").filter(|token| !token.is_empty());
    let token = token.context("found no access_token in the answer")?;
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        bail!("found a token_type other than Bearer");
    }
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| anyhow!("found no usable token"))?;
    bearer.set_sensitive(true);
    // Some issuers write the number as a string.
    let seconds = answer.get("expires_in").and_then(|value| match value.as_str() {
        Some(text) => text.parse().ok(),
        None => value.as_f64(),
    });
    let life = seconds.map_or(DEFAULT_LIFE, |seconds: f64| {
        TimeDelta::seconds((seconds as i64).clamp(0, MAX_LIFE.num_seconds()))
    });
    Ok((bearer, life))
}

#[cfg(test)]
mod tests;
