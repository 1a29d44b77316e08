//! A running service, as a command speaks to it: turns are posted, and a conversation's stream is heard.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A stream that says nothing for so long, not even that it is there, is given up: it says so every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// How long one stream is heard before it is opened anew.
const ONE_STREAM: Duration = Duration::from_secs(24 * 3_600);

/// Where turns are posted to, and with which headers.
#[derive(Clone)]
pub(crate) struct Running {
    http: Client,
    url: Url,
    headers: HeaderMap,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Came {
    /// Its HTTP status.
    pub(crate) status: u16,
    /// Its JSON; a string where it is none.
    pub(crate) body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    NothingListens(String),
    #[error("{0}")]
    Other(String),
}

impl Running {
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

    /// What is said where nothing listens at its address.
    pub(crate) fn nothing_listens(&self, reason: &str) -> String {
        format!(
            "nothing listens at {}; start the service, or name another with --url ({reason})",
            shown(&self.url)
        )
    }

    /// Posts a turn.
    ///
    /// # Errors
    /// When nobody answers, or with more than is read.
    pub(crate) async fn post(&self, turn: impl Into<Bytes>) -> Result<Came, NoAnswer> {
        let request = self.http.post(self.url.clone()).headers(self.headers.clone());
        let response = request.body(turn.into()).send().await.map_err(NoAnswer::from)?;
        came(response).await
    }

    /// Opens the stream of a conversation, after the message with this id of the stream.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) async fn hear(&self, session: &str, after: Option<&str>) -> Result<Result<Stream, Came>, NoAnswer> {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches("/fulfillment").to_owned();
        url.set_path(&format!("{base}/conversations/{session}/stream"));
        let mut request = self.http.get(url).headers(self.headers.clone()).timeout(ONE_STREAM);
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(NoAnswer::from)?;
        if response.status().is_success() {
            return Ok(Ok(Stream::from(response)));
        }
        Ok(Err(came(response).await?))
    }
}

async fn came(mut response: Response) -> Result<Came, NoAnswer> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(NoAnswer::from)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(NoAnswer::Other(format!("answer is larger than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    let body =
        serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(Came { status, body })
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

/// An open stream of a conversation.
#[derive(Debug)]
pub(crate) struct Stream {
    response: Response,
    read: Vec<u8>,
}

/// What the chat window was told unasked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// What a client that comes back sends as `Last-Event-ID`.
    #[serde(skip)]
    pub stream_id: String,
    /// The same each time that the message is sent.
    pub id: String,
    /// What the user reads.
    pub text: String,
    /// What the user has opted in to.
    pub topic: Option<String>,
    /// The sender's id of the event that led to it.
    pub event_id: String,
}

impl From<Response> for Stream {
    fn from(response: Response) -> Self {
        Self {
            response,
            read: Vec::new(),
        }
    }
}

impl Stream {
    /// The next message.
    ///
    /// # Errors
    /// When the stream breaks off, ends, says nothing, or says what is no message.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Said> {
        loop {
            while let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                if let Some(said) = said(std::str::from_utf8(&block)?)? {
                    return Ok(said);
                }
            }
            let chunk = timeout(SILENCE, self.response.chunk()).await;
            let chunk = chunk
                .context("the stream is silent")?
                .map_err(reqwest::Error::without_url)?;
            self.read.extend_from_slice(&chunk.context("the stream has ended")?);
        }
    }
}

/// The message of a block of lines; none where it is a comment or a setting.
fn said(block: &str) -> anyhow::Result<Option<Said>> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let Some(data) = field("data: ") else { return Ok(None) };
    let mut said: Said = serde_json::from_str(data).context("the stream says what is no message")?;
    said.stream_id = field("id: ")
        .context("the stream has a message without an id")?
        .to_owned();
    Ok(Some(said))
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
