//! Plays recorded turns against a service that runs.

use std::time::Instant;

use anyhow::{Context as _, bail};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;

use super::{Came, Outcome, Played, RecordedTurn, Report};

/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Where turns are posted to, and with which headers.
pub(crate) struct Service {
    http: Client,
    url: Url,
    headers: HeaderMap,
}

impl Service {
    /// The service at `url`, which may be its base or the whole of `…/fulfillment`; `headers` are as `Name: value`.
    ///
    /// # Errors
    /// When the URL or a header cannot be read. A header's value is not in the error.
    pub(crate) fn new(http: Client, url: &str, headers: &[String]) -> anyhow::Result<Self> {
        let mut service = Self {
            http,
            url: fulfillment(url)?,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        };
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .context("--header: found no colon, expected 'Name: value'")?;
            let name: HeaderName = name
                .trim()
                .parse()
                .with_context(|| format!("--header: found name {name:?}, expected that of an HTTP header"))?;
            let mut value: HeaderValue = value
                .trim()
                .parse()
                .with_context(|| format!("--header: the value of {name} cannot stand in an HTTP header"))?;
            value.set_sensitive(true);
            service.headers.insert(name, value);
        }
        Ok(service)
    }

    /// Posts `turn`.
    async fn post(&self, turn: &RecordedTurn) -> Result<Came, NoAnswer> {
        let request = self.http.post(self.url.clone()).headers(self.headers.clone());
        let mut response = request.body(turn.body()).send().await.map_err(NoAnswer::from)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(NoAnswer::from)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(NoAnswer::Other(format!("answer is larger than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok(Came { status, body })
    }
}

/// Posts `turns` one after the other and says how each came out.
///
/// # Errors
/// When nothing listens at the service's address.
pub(crate) async fn play(service: &Service, turns: &[RecordedTurn]) -> anyhow::Result<Report> {
    let mut played = Vec::with_capacity(turns.len());
    for turn in turns {
        let started = Instant::now();
        let answer = service.post(turn).await;
        let milliseconds = started.elapsed().as_secs_f64() * 1_000.0;
        let (outcome, came) = match answer {
            Ok(came) => {
                let mismatch = turn.mismatch(&came);
                (mismatch.map_or(Outcome::Ok, Outcome::Differs), Some(came))
            }
            Err(NoAnswer::NothingListens(reason)) if played.is_empty() => {
                bail!(
                    "nothing listens at {}; start the service, or name another with --url ({reason})",
                    shown(&service.url)
                );
            }
            Err(NoAnswer::NothingListens(reason) | NoAnswer::Other(reason)) => (Outcome::Error(reason), None),
        };
        played.push(Played {
            turn: turn.clone(),
            outcome,
            came,
            milliseconds,
        });
    }
    Ok(Report { played })
}

/// Why there is no answer.
enum NoAnswer {
    NothingListens(String),
    Other(String),
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let connecting = error.is_connect();
        // The URL may hold a password.
        let reason = format!("{:#}", anyhow::Error::new(error.without_url()));
        if connecting {
            Self::NothingListens(reason)
        } else {
            Self::Other(reason)
        }
    }
}

/// The address turns are posted to, of a service's base or of itself.
///
/// # Errors
/// When it is not an http or https URL.
pub(crate) fn fulfillment(url: &str) -> anyhow::Result<Url> {
    const EXPECTED: &str = "expected one such as http://127.0.0.1:8080";
    let mut url = Url::parse(url).with_context(|| format!("--url: found text that is no URL, {EXPECTED}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("--url: found scheme {:?}, {EXPECTED}", url.scheme());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/fulfillment") {
        url.set_path(&format!("{path}/fulfillment"));
    }
    Ok(url)
}

/// `url` without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}
