//! What an exchange of a request for an answer is on any connection: how long each part may take, and what is said.

use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_http::{Request, Response};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};

use crate::peer::Peer;

/// How long a new connection may take to begin its first request, the handshake of TLS included, and the head of any
/// request to arrive.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long an answer may wait until the client takes more of it.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long is read on from a connection that is closed with a request unread: a reset would take the answer away
/// from a client that is still sending.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// What browsers are told: by no other way for a year.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What `app` says to a request.
pub(super) async fn said<S, B>(app: &S, request: Request) -> Response<BoxBody>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    match app.call(request).await {
        Ok(response) => response.map_into_boxed_body().into(),
        Err(error) => error.error_response().into(),
    }
}

/// An answer as its peer gets it.
pub(super) fn told<B>(mut response: Response<B>, peer: &Peer) -> Response<B> {
    if peer.is_encrypted {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
    response
}
