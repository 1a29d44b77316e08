//! Which pages' scripts may read a stream, as a browser is told it (CORS, of the Fetch standard).

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::body::text;
use crate::origins::{Origins, is_of_host};

/// What a page may ask with, besides what it always may.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, last-event-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET");

/// For how long a browser need not ask again, in seconds.
const MAX_AGE: u16 = 600;

/// The origin of the page that asks, where it is a listed one.
pub(super) fn listed(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = text(headers, &header::ORIGIN).filter(|origin| origins.contains(origin));
    origin.and_then(|_| headers.get(header::ORIGIN).cloned())
}

/// Whether a page asks that is neither listed nor the service's own. One that does not say whose it is is the service's own,
/// or cannot read what it gets.
pub(super) fn is_foreign(origins: &Origins, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = text(headers, &header::HOST).unwrap_or_default();
    let is_known = |origin: &str| origins.contains(origin) || is_of_host(origin, host);
    !origin.to_str().is_ok_and(is_known)
}

/// Whether a browser asks what a page may do, before it does it.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What an answer says of who may read it; `listed` is the origin of the page that asked, where it is a listed one.
pub(super) fn tell(answer: &mut HeaderMap, listed: Option<HeaderValue>) {
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = listed {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
}

/// What a page of a listed origin may do.
pub(super) fn allow(answer: &mut HeaderMap) {
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
}
