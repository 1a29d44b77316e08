//! What a caller is told when there is no reply; the one place that decides HTTP status codes.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::conversation::NoStream;
use crate::fulfillment::Refused;
use crate::intake::overload::RETRY_AFTER_S;
use crate::intake::receipt::{Receipt, Status};
use crate::intake::reception as events;
use crate::platform::NotATurn;
use crate::session::BadSessionName;
use crate::source::{Handshake, HandshakeStatus, NotEvents, Refused as NotTheSender};

/// A request that gets an error status. Its text goes to the caller, so it holds nothing of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the body is larger than {limit} bytes{}", if *.inflated { " once it is inflated" } else { "" })]
    TooLarge { limit: usize, inflated: bool },
    #[error("the body did not arrive within {limit_ms} ms")]
    TooSlow { limit_ms: u128 },
    #[error("too many bodies are on their way; come again later")]
    NoRoom,
    #[error("the request's head did not arrive within {limit_ms} ms")]
    HeadTooSlow { limit_ms: u128 },
    #[error("the request's head is larger than 128 KiB or has more than 96 headers")]
    HeadTooLarge,
    #[error("the request is not HTTP/1.1")]
    NotHttp,
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
    Unauthorized { challenges: Vec<HeaderValue> },
    #[error("Host: found {found:?}, expected localhost or a loopback address, as callers need no credentials here")]
    BadHost { found: String },
    #[error("query: {0}")]
    BadQuery(String),
    #[error("callers cannot be checked right now")]
    KeysUnavailable,
    #[error("session: {0}")]
    BadSession(#[from] BadSessionName),
    #[error("Last-Event-ID: found {found:?}, expected the id of an event of the stream, a whole number")]
    BadEventId { found: String },
    #[error(transparent)]
    NoStream(#[from] NoStream),
    #[error(transparent)]
    Events(#[from] events::Refused),
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this address takes {allowed} only")]
    MethodNotAllowed { allowed: &'static str },
    #[error("not ready: {0}")]
    NotReady(&'static str),
}

impl HttpError {
    /// What the caller is told it is.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refused::NotATurn(NotATurn::Json(_))) => "not_json",
            Self::Refused(Refused::NotATurn(NotATurn::Field { .. })) => "not_a_turn",
            Self::Refused(Refused::NoHandler { .. }) => "no_handler",
            Self::Refused(Refused::Failed) => "handler_failed",
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::NoRoom => "busy",
            Self::HeadTooSlow { .. } => "too_slow",
            Self::HeadTooLarge => "head_too_large",
            Self::NotHttp => "not_http",
            Self::BrokeOff(_) => "broke_off",
            Self::BadEncoding { .. } => "bad_encoding",
            Self::UnsupportedMedia { .. } => "unsupported_media",
            Self::Unauthorized { .. } => "unauthorized",
            Self::BadHost { .. } => "bad_host",
            Self::BadQuery(_) => "bad_query",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSession(_) => "bad_session",
            Self::BadEventId { .. } => "bad_event_id",
            Self::NoStream(_) => "no_stream",
            Self::Events(refused) => refused.code(),
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotReady(_) => "not_ready",
        }
    }
}

impl HttpError {
    /// Whether the same request may be taken later.
    fn is_passing(&self) -> bool {
        let status = self.status_code();
        status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
    }
}

fn events_status(refused: &events::Refused) -> StatusCode {
    match refused {
        events::Refused::UnknownSource(_) => StatusCode::NOT_FOUND,
        events::Refused::Caller(
            NotTheSender::Missing(_)
            | NotTheSender::BadSignature
            | NotTheSender::BadTimestamp
            | NotTheSender::OldTimestamp { .. },
        ) => StatusCode::UNAUTHORIZED,
        events::Refused::NotEvents(NotEvents::Json { .. }) => StatusCode::BAD_REQUEST,
        events::Refused::NotEvents(NotEvents::TooMany { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        events::Refused::NotEvents(NotEvents::ContentType { .. }) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        events::Refused::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        // Ours to mend: the sender comes again, and nothing is lost.
        events::Refused::NotConfigured(_)
        | events::Refused::Caller(NotTheSender::NotConfigured | NotTheSender::Unavailable(_))
        | events::Refused::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What became of a request's events: 202 when all are durable, 200 when all were before, 422 when none is, 207 when
/// some are. Of one event the answer is its item, of more a list.
pub(crate) fn receipt(receipt: &Receipt) -> HttpResponse {
    let has_bad = receipt.has(Status::Quarantined) || receipt.has(Status::Invalid);
    let has_good = receipt.has(Status::Stored) || receipt.has(Status::Duplicate);
    let status = match (has_good, has_bad) {
        (true, true) => StatusCode::MULTI_STATUS,
        (false, true) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, false) if receipt.has(Status::Stored) => StatusCode::ACCEPTED,
        (_, false) => StatusCode::OK,
    };
    let mut response = HttpResponse::build(status);
    match receipt.events.as_slice() {
        [item] => response.json(item),
        _ => response.json(receipt),
    }
}

/// The answer to what a sender asks before its first event.
pub(crate) fn handshake(answer: Handshake) -> HttpResponse {
    let mut response = match answer.status {
        HandshakeStatus::Ok => HttpResponse::Ok(),
        HandshakeStatus::Forbidden => HttpResponse::Forbidden(),
    };
    for header in answer.headers {
        response.insert_header(header);
    }
    // What a sender says is given back to it: never as something that a browser would run.
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response.body(answer.body)
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(Refused::NotATurn(_) | Refused::NoHandler { .. })
            | Self::BrokeOff(_)
            | Self::BadEncoding { .. }
            | Self::BadSession(_)
            | Self::BadEventId { .. }
            | Self::BadQuery(_)
            | Self::NotHttp => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooSlow { .. } | Self::HeadTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BadHost { .. } => StatusCode::FORBIDDEN,
            Self::UnsupportedMedia { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Events(refused) => events_status(refused),
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(Refused::Failed)
            | Self::KeysUnavailable
            | Self::NoRoom
            | Self::NotReady(_)
            | Self::NoStream(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut error = json!({"code": self.code(), "message": self.to_string()});
        if let Self::Refused(Refused::NotATurn(NotATurn::Json(bad))) = self {
            error["line"] = bad.line.into();
            error["column"] = bad.column.into();
        } else if let Self::Events(events::Refused::NotEvents(NotEvents::Json { line, column, .. })) = self {
            error["line"] = (*line).into();
            error["column"] = (*column).into();
        } else if let Self::Refused(Refused::NotATurn(NotATurn::Field { field, .. })) = self {
            error["field"] = field.as_str().into();
        } else if let Self::Refused(Refused::NoHandler { field, .. }) = self {
            error["field"] = (*field).into();
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Self::Unauthorized { challenges } = self {
            for challenge in challenges {
                response.append_header((header::WWW_AUTHENTICATE, challenge.clone()));
            }
        } else if matches!(self, Self::Events(events::Refused::Caller(_)))
            && self.status_code() == StatusCode::UNAUTHORIZED
        {
            response.insert_header((header::WWW_AUTHENTICATE, "Signature"));
        } else if matches!(
            self,
            Self::KeysUnavailable | Self::NoRoom | Self::NoStream(_) | Self::Events(_)
        ) && self.is_passing()
        {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_S));
        } else if let Self::MethodNotAllowed { allowed } = self {
            response.insert_header((header::ALLOW, *allowed));
        }
        response.json(json!({ "error": error }))
    }
}

/// The answer to a method that a route does not have.
pub(crate) async fn only(allowed: &'static str) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed { allowed })
}
