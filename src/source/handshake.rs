//! How a sender makes sure, before the first event, that it is welcome.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use super::request::{Request, text};
use super::secret::Secret;
use super::signed::Algorithm;
use super::token;

/// What a sender asks for; longer ones are no tokens, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The answer to a sender's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// How it is answered.
    pub(crate) status: HandshakeStatus,
    /// Further headers, such as `Content-Type`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// May be empty.
    pub(crate) body: String,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeStatus {
    /// Welcome.
    Ok,
    /// The sender does not know what it should.
    Forbidden,
}

/// How the senders of a source ask.
pub(super) enum Asks {
    /// `POST` of a signed `url_verification`; docs.slack.dev/reference/events/url_verification.
    Slack,
    /// `POST` of a signed `endpoint.url_validation`.
    Zoom,
    /// `GET` with `hub.verify_token`, which must be this.
    Meta { token: String },
    /// `POST` with `validationToken` in the query.
    Msgraph,
    /// `OPTIONS` with `WebHook-Request-Origin`: the web hook specification of CloudEvents. Who is none of these shows
    /// the secret, or anybody could have a third party send to us.
    CloudEvents { origins: Vec<String> },
}

impl Asks {
    /// Whether the request is a question that counts only once it is proven to be the sender's.
    pub(super) fn must_be_signed(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Slack | Self::Zoom => request.method == "POST" && question(request.body).is_some(),
            Self::CloudEvents { origins } => {
                let is_welcome = |origin: String| origins.iter().any(|known| known.eq_ignore_ascii_case(&origin));
                request.method == "OPTIONS" && origin(request).is_some_and(|origin| !is_welcome(origin))
            }
            Self::Meta { .. } | Self::Msgraph => false,
        }
    }

    /// The answer, if the request is a question; `secret` is the one that has signed it.
    pub(super) fn answer(&self, request: &Request<'_>, secret: Option<&Secret>) -> Option<Handshake> {
        match self {
            Self::Slack => match question(request.body)? {
                Question::Slack { challenge } => Some(Handshake::text(challenge)),
                Question::Zoom { .. } => None,
            },
            Self::Zoom => match question(request.body)? {
                Question::Zoom { payload } => {
                    let key = secret?.shared()?;
                    let proof = Algorithm::Sha256.mac(key, &[payload.plain_token.as_bytes()]);
                    let answer = json!({"plainToken": payload.plain_token, "encryptedToken": hex::encode(proof)});
                    Some(Handshake::new("application/json", answer.to_string()))
                }
                Question::Slack { .. } => None,
            },
            Self::Meta { token } => meta(token, request),
            Self::Msgraph => {
                let asked = request.method == "POST";
                let token = asked.then(|| field(request.query, "validationToken")).flatten()?;
                Some(Handshake::text(token))
            }
            Self::CloudEvents { .. } => cloudevents(request),
        }
    }
}

impl Handshake {
    fn new(content_type: &str, body: String) -> Self {
        Self {
            status: HandshakeStatus::Ok,
            headers: vec![
                ("content-type", content_type.to_owned()),
                // The body is what the sender says: no browser should take it for a page.
                ("x-content-type-options", "nosniff".to_owned()),
            ],
            body,
        }
    }

    fn text(body: String) -> Self {
        Self::new("text/plain; charset=utf-8", body)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Question {
    Slack { challenge: String },
    Zoom { payload: ZoomPayload },
}

#[derive(Deserialize)]
struct ZoomPayload {
    #[serde(rename = "plainToken")]
    plain_token: String,
}

fn question(body: &[u8]) -> Option<Question> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(alias = "event")]
        r#type: String,
    }
    if body.len() > 2 * MAX_TOKEN_BYTES {
        return None;
    }
    let Kind { r#type } = serde_json::from_slice(body).ok()?;
    match r#type.as_str() {
        "url_verification" | "endpoint.url_validation" => serde_json::from_slice(body).ok(),
        _ => None,
    }
}

fn meta(token: &str, request: &Request<'_>) -> Option<Handshake> {
    if request.method != "GET" || field(request.query, "hub.mode")? != "subscribe" {
        return None;
    }
    let shown = field(request.query, "hub.verify_token").unwrap_or_default();
    let known = Secret::Shared(token.as_bytes().into());
    if token::shown(&[known], shown.as_bytes()).is_none() {
        return Some(Handshake {
            status: HandshakeStatus::Forbidden,
            ..Handshake::text(String::new())
        });
    }
    Some(Handshake::text(field(request.query, "hub.challenge")?))
}

fn cloudevents(request: &Request<'_>) -> Option<Handshake> {
    if request.method != "OPTIONS" {
        return None;
    }
    let mut headers = vec![
        ("allow", "POST".to_owned()),
        ("webhook-allowed-origin", origin(request)?),
    ];
    if of_one_line(request.headers, "webhook-request-rate").is_some() {
        headers.push(("webhook-allowed-rate", "*".to_owned()));
    }
    Some(Handshake {
        status: HandshakeStatus::Ok,
        headers,
        body: String::new(),
    })
}

/// Who asks, by the sender's own word.
fn origin(request: &Request<'_>) -> Option<String> {
    of_one_line(request.headers, "webhook-request-origin")
}

fn of_one_line(headers: &HeaderMap, name: &str) -> Option<String> {
    text(headers, name)
        .filter(|value| !value.is_empty() && value.len() <= MAX_TOKEN_BYTES)
        .map(str::to_owned)
}

fn field(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| value.len() <= MAX_TOKEN_BYTES)
}
