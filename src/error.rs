//! What a caller is told when there is no reply; the one place that decides HTTP status codes.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::dialogflow::NotATurn;
use crate::fulfillment::Refused;

/// A request that gets an error status. Its text goes to the caller, so it holds nothing of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the body is larger than {limit} bytes{}", if *.inflated { " once it is inflated" } else { "" })]
    TooLarge { limit: usize, inflated: bool },
    #[error("the body did not arrive within {limit_ms} ms")]
    TooSlow { limit_ms: u128 },
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
    #[error("callers cannot be checked right now")]
    KeysUnavailable,
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this address takes {allowed} only")]
    MethodNotAllowed { allowed: &'static str },
    #[error("the handler failed")]
    HandlerFailed,
    #[error("not ready: {0}")]
    NotReady(&'static str),
}

impl HttpError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refused::NotATurn(NotATurn::Json(_))) => "not_json",
            Self::Refused(Refused::NotATurn(NotATurn::Field { .. })) => "not_a_turn",
            Self::Refused(Refused::NoHandler { .. }) => "no_handler",
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::BrokeOff(_) => "broke_off",
            Self::BadEncoding { .. } => "bad_encoding",
            Self::UnsupportedMedia { .. } => "unsupported_media",
            Self::Unauthorized { .. } => "unauthorized",
            Self::KeysUnavailable => "keys_unavailable",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::HandlerFailed => "handler_failed",
            Self::NotReady(_) => "not_ready",
        }
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(_) | Self::BrokeOff(_) | Self::BadEncoding { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMedia { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeysUnavailable | Self::HandlerFailed | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut error = json!({"code": self.code(), "message": self.to_string()});
        match self {
            Self::Refused(Refused::NotATurn(NotATurn::Json(bad))) => {
                error["line"] = bad.line.into();
                error["column"] = bad.column.into();
            }
            Self::Refused(Refused::NotATurn(NotATurn::Field { field, .. })) => error["field"] = field.as_str().into(),
            Self::Refused(Refused::NoHandler { field, .. }) => error["field"] = (*field).into(),
            _ => {}
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthorized { challenges } => {
                for challenge in challenges {
                    response.append_header((header::WWW_AUTHENTICATE, challenge.clone()));
                }
            }
            Self::KeysUnavailable => {
                response.insert_header((header::RETRY_AFTER, "10"));
            }
            Self::MethodNotAllowed { allowed } => {
                response.insert_header((header::ALLOW, *allowed));
            }
            // The rest of the body is not read.
            Self::TooLarge { .. } | Self::TooSlow { .. } => {
                response.force_close();
            }
            _ => {}
        }
        response.json(json!({ "error": error }))
    }
}
