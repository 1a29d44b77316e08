//! The door of events: its routes, the order in which a sender is believed, and how a refusal is told.

use std::sync::Arc;

use actix_web::http::header::{self, ContentType, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use tokio::time::Instant;

use super::receipt::{Receipt, Status};
use super::reception::{Presumed, Reception, Refused};
use crate::body::{BODY_LIMIT, BodyMemory, inflate, read, text};
use crate::error::{self, HttpError, only};
use crate::guard::{Admitted, Guard};
use crate::source::{self, Delivery, Handshake, HandshakeStatus, NotEvents};

/// Where a request is counted that names no source.
const UNKNOWN: &str = "(unknown)";

/// What senders are answered with.
pub(crate) struct EventsDoor {
    /// `None` where no events are taken.
    pub(crate) reception: Option<Arc<Reception>>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) memory: BodyMemory,
}

impl EventsDoor {
    /// Its routes, behind its guard. Who sends events is proven by the source's file.
    pub(crate) fn routes(self: Arc<Self>, config: &mut ServiceConfig) {
        let (readers, senders) = (Arc::clone(&self.guard), Arc::clone(&self.guard));
        config
            .app_data(Data::from(self))
            .service(
                web::resource("/events/catalogue")
                    .get(catalogue)
                    .default_service(web::to(|| only("GET, HEAD")))
                    .wrap(from_fn(move |request, next| {
                        Arc::clone(&readers).callers(request, next)
                    })),
            )
            .service(
                web::resource("/events/{source}")
                    .default_service(web::to(events))
                    .wrap(from_fn(move |request, next| {
                        Arc::clone(&senders).senders(request, next)
                    })),
            );
    }
}

/// Events, and what a sender asks before its first one. Whatever is refused is counted and logged.
async fn events(
    request: HttpRequest,
    name: web::Path<String>,
    payload: Payload,
    admitted: Admitted,
    door: Data<EventsDoor>,
) -> Result<HttpResponse, HttpError> {
    let arrived = admitted.arrived;
    let reception = door.reception.as_ref().ok_or(error::Refused::NotFound)?;
    let note = |source: &str, refused: &HttpError| {
        reception
            .refusals
            .of_source(source, refused.code(), 0, refused.logged());
    };
    let presumed = reception.source(&name).map_err(|refused| {
        // A name that a stranger has made up is no label.
        let is_known = !matches!(refused, Refused::UnknownSource(_));
        let refused = HttpError::from(refused);
        note(if is_known { &name } else { UNKNOWN }, &refused);
        refused
    })?;
    let answer = receive(reception, &presumed, &request, payload, &door.memory, arrived).await;
    let answer = answer.inspect_err(|refused| note(&presumed.source.name, refused))?;
    answer.ok_or_else(|| error::Refused::MethodNotAllowed { allowed: "POST" }.into())
}

/// What comes of a request, in the order in which it is believed: the handshake, the proof, the body inflated, its events
/// taken. `None` where it neither asks nor posts anything.
async fn receive(
    reception: &Reception,
    presumed: &Presumed,
    request: &HttpRequest,
    payload: Payload,
    memory: &BodyMemory,
    arrived: Instant,
) -> Result<Option<HttpResponse>, HttpError> {
    let source = &*presumed.source;
    let sent = neutral(request.headers());
    let asked = |body| source::Request {
        method: request.method().as_str(),
        query: request.query_string(),
        headers: &sent,
        body,
    };
    if request.method() != Method::POST {
        let handshake = source.handshake(&asked(b"")).await.map_err(Refused::from)?;
        return Ok(handshake.map(welcome));
    }
    // A stranger's body is read only where it is what proves the sender.
    let known = match source.needs_body() {
        true => None,
        false => Some(reception.verify(presumed, &asked(b"")).await?),
    };
    let limit = source.limits.body_bytes;
    let body = read(request.headers(), payload, limit, memory, arrived + BODY_LIMIT).await?;
    let handshake = source.handshake(&asked(&body.bytes)).await.map_err(Refused::from)?;
    if let Some(handshake) = handshake {
        return Ok(Some(welcome(handshake)));
    }
    let verified = match known {
        Some(verified) => verified,
        None => reception.verify(presumed, &asked(&body.bytes)).await?,
    };
    let body = inflate(request.headers(), body, limit, memory)?;
    let delivery = Delivery {
        headers: &sent,
        body: &body.bytes,
        received: reception.clock.now(),
    };
    let receipt = reception.take(verified, &delivery, arrived).await?;
    Ok(Some(received(&receipt)))
}

/// The headers as sources read them, whatever a delivery comes by.
fn neutral(headers: &HeaderMap) -> http::HeaderMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    pairs.collect()
}

/// The answer to what a sender asks before its first event.
fn welcome(answer: Handshake) -> HttpResponse {
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

/// What became of a request's events: 202 when all are durable, 200 when all were before, 422 when none is, 207 when
/// some are. Of one event the answer is its item, of more a list.
fn received(receipt: &Receipt) -> HttpResponse {
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

/// The types, versions and schemas of events, for whoever sends them.
async fn catalogue(request: HttpRequest, _: Admitted, door: Data<EventsDoor>) -> Result<HttpResponse, HttpError> {
    let reception = door.reception.as_ref().ok_or(error::Refused::NotFound)?;
    let published = reception.rulebook.edition();
    let published = published.catalogue.published();
    if text(request.headers(), &header::IF_NONE_MATCH) == Some(published.etag.as_str()) {
        return Ok(HttpResponse::NotModified().finish());
    }
    Ok(HttpResponse::Ok()
        .insert_header(ContentType::json())
        .insert_header((header::ETAG, published.etag.clone()))
        .body(published.body.clone()))
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        let told = |status, code| Self::new(status, code, &refused);
        let unproven = |code| {
            let signature = HeaderValue::from_static("Signature");
            told(StatusCode::UNAUTHORIZED, code).with_header(header::WWW_AUTHENTICATE, signature)
        };
        // Ours to mend: the sender comes again, and nothing is lost.
        let ours = |code| told(StatusCode::SERVICE_UNAVAILABLE, code).come_again();
        match &refused {
            Refused::UnknownSource(_) => told(StatusCode::NOT_FOUND, "unknown_source")
                .logged_as("there is no file of that name in events/sources"),
            Refused::NotConfigured(_) | Refused::Caller(source::Refused::NotConfigured) => {
                ours("source_not_configured")
            }
            Refused::Caller(source::Refused::Missing(_)) => unproven("not_signed"),
            Refused::Caller(source::Refused::BadSignature) => unproven("bad_signature"),
            Refused::Caller(source::Refused::BadTimestamp | source::Refused::OldTimestamp { .. }) => {
                unproven("bad_timestamp")
            }
            Refused::Caller(source::Refused::Unavailable(_)) => ours("unverifiable"),
            Refused::NotEvents(NotEvents::Json { line, column, .. }) => told(StatusCode::BAD_REQUEST, "not_events")
                .with("line", *line)
                .with("column", *column),
            Refused::NotEvents(NotEvents::TooMany { .. }) => told(StatusCode::PAYLOAD_TOO_LARGE, "not_events"),
            Refused::NotEvents(NotEvents::ContentType { expected, .. }) => {
                told(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_events")
                    .logged_as(format!("content-type: expected {expected}"))
            }
            Refused::Overloaded => told(StatusCode::TOO_MANY_REQUESTS, "overloaded").come_again(),
            Refused::NotStored(_) => ours("not_stored"),
        }
    }
}
