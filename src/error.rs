//! A refusal as a caller is told it: the only place that writes one out. What is refused, and with which status, stands at
//! each door; here is only what any door may refuse.

use std::fmt::{self, Display};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};

use crate::config::Rate;

/// When a caller that is sent away should come again, in seconds.
const RETRY_AFTER_S: u16 = 10;

/// How much is left of a limit, and what it is (draft-ietf-httpapi-ratelimit-headers).
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A request that gets an error status. Its text goes to the caller, so it holds nothing of ours.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What the log says of it, where the message holds what a stranger has written.
    logged: Option<String>,
    /// More fields of the JSON.
    fields: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpError {
    /// `refused` is told as it says itself; `code` is what it is to programs.
    pub(crate) fn new(status: StatusCode, code: &'static str, refused: &impl Display) -> Self {
        Self {
            status,
            code,
            message: refused.to_string(),
            logged: None,
            fields: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The same, with a further field beside code and message.
    pub(crate) fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((field, value.into()));
        self
    }

    /// The same, with a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, with a header of figures.
    fn with_text_header(self, name: HeaderName, text: &str) -> Self {
        match HeaderValue::from_str(text) {
            Ok(value) => self.with_header(name, value),
            Err(_) => self,
        }
    }

    /// The same, of a request that may be taken later.
    pub(crate) fn come_again(self) -> Self {
        self.with_header(header::RETRY_AFTER, RETRY_AFTER_S)
    }

    /// The same; the log says this of it.
    pub(crate) fn logged_as(mut self, text: impl Into<String>) -> Self {
        self.logged = Some(text.into());
        self
    }

    /// What the log says of it: nothing that a stranger has written.
    pub(crate) fn logged(&self) -> &str {
        self.logged.as_deref().unwrap_or(&self.message)
    }

    /// What the caller is told it is.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

impl Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut error = json!({"code": self.code, "message": self.message});
        for (field, value) in &self.fields {
            error[*field] = value.clone();
        }
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.json(json!({ "error": error }))
    }
}

/// What is refused at any door: on the connection, of a body, of a caller, of an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the request's head did not arrive within {limit_ms} ms")]
    HeadTooSlow { limit_ms: u128 },
    #[error("the request's head is larger than 128 KiB or has more than 96 headers")]
    HeadTooLarge,
    #[error("the request is not HTTP/1.1")]
    NotHttp,
    #[error("the request has no address that can be answered")]
    NoAddress,
    #[error(
        "plain HTTP is answered on loopback and to addresses in TRUSTED_PROXIES only: call by https, or have the operator set \
         TLS_CERT_FILE and TLS_KEY_FILE, or TRUSTED_PROXIES"
    )]
    PlainHttp,
    #[error("Host: found {found:?}, expected the name or address that this service is called by")]
    NoHost { found: String },
    #[error("the body is larger than {limit} bytes{}", if *.inflated { " once it is inflated" } else { "" })]
    TooLarge { limit: usize, inflated: bool },
    #[error("the body did not arrive within {limit_ms} ms")]
    TooSlow { limit_ms: u128 },
    #[error("too many bodies are on their way; come again later")]
    NoRoom,
    #[error("the body broke off: {0}")]
    BrokeOff(String),
    #[error("the body is not {encoding}, as its Content-Encoding says")]
    BadEncoding { encoding: &'static str },
    #[error("{header}: found {found:?}, expected {expected}")]
    UnsupportedMedia {
        header: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("this caller is not admitted")]
    Unauthorized {
        challenges: Vec<HeaderValue>,
        /// For the log.
        reasons: String,
    },
    #[error("no requests are taken from this address")]
    NotAllowed,
    #[error("too many requests; {rate} are taken")]
    TooOften { rate: Rate, wait: Duration },
    #[error(
        "Forwarded, X-Forwarded-For: found no address, or two different clients, expected one that the proxy has written"
    )]
    BadForwarding,
    #[error("this address has no guard")]
    Unguarded,
    #[error("Host: found {found:?}, expected localhost or a loopback address, as callers need no credentials here")]
    BadHost { found: String },
    #[error("callers cannot be checked right now")]
    KeysUnavailable,
    #[error("query: {0}")]
    BadQuery(String),
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this address takes {allowed} only")]
    MethodNotAllowed { allowed: &'static str },
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        let told = |status, code| Self::new(status, code, &refused);
        match &refused {
            Refused::HeadTooSlow { .. } | Refused::TooSlow { .. } => told(StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Refused::HeadTooLarge => told(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"),
            Refused::NotHttp => told(StatusCode::BAD_REQUEST, "not_http"),
            Refused::NoAddress => told(StatusCode::BAD_REQUEST, "no_address"),
            Refused::PlainHttp => told(StatusCode::FORBIDDEN, "plain_http"),
            Refused::NoHost { .. } => told(StatusCode::BAD_REQUEST, "no_host"),
            Refused::TooLarge { .. } => told(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Refused::NoRoom => told(StatusCode::SERVICE_UNAVAILABLE, "busy").come_again(),
            Refused::BrokeOff(_) => told(StatusCode::BAD_REQUEST, "broke_off"),
            Refused::BadEncoding { .. } => told(StatusCode::BAD_REQUEST, "bad_encoding"),
            Refused::UnsupportedMedia { .. } => told(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media"),
            Refused::Unauthorized { challenges, reasons } => challenges.iter().fold(
                told(StatusCode::UNAUTHORIZED, "unauthorized").logged_as(reasons.as_str()),
                |told, challenge| told.with_header(header::WWW_AUTHENTICATE, challenge.clone()),
            ),
            Refused::NotAllowed => told(StatusCode::FORBIDDEN, "not_allowed"),
            Refused::TooOften { rate, wait } => {
                let seconds = wait.as_secs_f64().ceil().max(1.0);
                let (count, window) = (rate.count(), rate.period().as_secs());
                told(StatusCode::TOO_MANY_REQUESTS, "too_many_requests")
                    .with_text_header(header::RETRY_AFTER, &seconds.to_string())
                    .with_text_header(RATE_LIMIT_POLICY, &format!("\"default\";q={count};w={window}"))
                    .with_text_header(RATE_LIMIT, &format!("\"default\";r=0;t={seconds}"))
            }
            Refused::BadForwarding => told(StatusCode::BAD_REQUEST, "bad_forwarding"),
            Refused::Unguarded => told(StatusCode::INTERNAL_SERVER_ERROR, "unguarded"),
            Refused::BadHost { .. } => told(StatusCode::FORBIDDEN, "bad_host"),
            Refused::KeysUnavailable => told(StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable").come_again(),
            Refused::BadQuery(_) => told(StatusCode::BAD_REQUEST, "bad_query"),
            Refused::NotFound => told(StatusCode::NOT_FOUND, "not_found"),
            Refused::MethodNotAllowed { allowed } => told(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
                .with_header(header::ALLOW, HeaderValue::from_static(allowed)),
        }
    }
}

/// The answer to a method that a route does not have.
pub(crate) async fn only(allowed: &'static str) -> Result<HttpResponse, HttpError> {
    Err(Refused::MethodNotAllowed { allowed }.into())
}
