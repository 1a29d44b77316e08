//! The door: the route table of the whole service, and how a request becomes bytes to answer.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{self, ContentType, HeaderMap};
use actix_web::web::{self, Data, Payload, QueryConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tracing::{Span, info};

use crate::admission::admit;
use crate::auth::Auth;
use crate::body::{Body, BodyMemory, expect_json, inflate, read, text};
use crate::clock::before;
use crate::conversation::Conversation;
use crate::error::{self, HttpError, only};
use crate::fulfillment::Fulfillment;
use crate::intake::reception::Reception;
use crate::session::SessionName;
use crate::source::Delivery;
use crate::telemetry::TURNS;
use crate::{operate, source};

/// The largest body that is taken, in bytes, before and after it is inflated.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// What is said at `/`.
const WELCOME: &str = "\
Rejoinder answers here.

POST /fulfillment        a turn of Dialogflow ES or CX
POST /events/{source}    an event of a source
GET  /events/catalogue   the types of events
GET  /readyz             whether it is ready
";

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(4);

/// How often the credentials of an open stream are looked at again.
const ADMITTED_AGAIN: Duration = Duration::from_secs(2);

/// What requests are answered with.
pub(crate) struct Doors {
    pub(crate) fulfillment: Arc<Fulfillment>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) events: Option<Arc<Reception>>,
    pub(crate) bodies: Bodies,
}

/// The memory of bodies: what events take, turns do not miss.
pub(crate) struct Bodies {
    turns: BodyMemory,
    events: BodyMemory,
}

impl Bodies {
    /// A quarter of `bytes` for turns, the rest for events.
    pub(crate) fn new(bytes: usize) -> Self {
        let turns = bytes / 4;
        Self {
            turns: BodyMemory::new(turns),
            events: BodyMemory::new(bytes - turns),
        }
    }
}

/// The route table.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .app_data(QueryConfig::default().error_handler(|error, _| HttpError::BadQuery(error.to_string()).into()))
        .service(
            web::resource("/")
                .get(welcome)
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .service(
            web::resource([TURNS, "/fulfillment/"])
                .post(turn)
                .default_service(web::to(|| only("POST"))),
        )
        .service(
            web::resource("/events/catalogue")
                .get(catalogue)
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .service(web::resource("/events/{source}").default_service(web::to(events)))
        .service(
            web::resource("/conversations/{session:.+}/stream")
                .get(stream)
                .default_service(web::to(|| only("GET"))),
        )
        .configure(operate::routes)
        .default_service(web::to(async || Err::<HttpResponse, _>(HttpError::NotFound)));
}

/// What a person sees who opens the address in a browser.
async fn welcome() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType::plaintext())
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(WELCOME)
}

async fn turn(request: HttpRequest, payload: Payload, doors: Data<Doors>) -> Result<HttpResponse, HttpError> {
    let arrived = Instant::now();
    // Both before the budget is spent: a caller whose keys cannot be fetched in time is answered, too.
    let patience = arrived + BODY_LIMIT;
    let headers = request.headers();
    let admitted = async |body: &[u8]| {
        let admitted = before(patience, admit(&doors.auth, headers, body)).await;
        admitted.map_err(|_| HttpError::KeysUnavailable)?
    };
    // A stranger's body is read only where it is what proves the caller.
    let is_proof = doors.auth.needs_body(headers);
    if !is_proof {
        admitted(b"").await?;
        expect_json(headers)?;
    }
    let memory = &doors.bodies.turns;
    let body = in_time(patience, read(headers, payload, MAX_BODY, memory)).await?;
    if is_proof {
        admitted(&body.bytes).await?;
        expect_json(headers)?;
    }
    let body = inflate(headers, body, MAX_BODY, memory)?;
    let reply = doors.fulfillment.answer(body.bytes.clone(), arrived).await?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(reply))
}

/// The body, if it arrives in time.
async fn in_time(patience: Instant, body: impl Future<Output = Result<Body, HttpError>>) -> Result<Body, HttpError> {
    let read = before(patience, body).await;
    read.map_err(|_| HttpError::TooSlow {
        limit_ms: BODY_LIMIT.as_millis(),
    })?
}

/// Events, and what a sender asks before its first one.
async fn events(
    request: HttpRequest,
    source: web::Path<String>,
    payload: Payload,
    doors: Data<Doors>,
) -> Result<HttpResponse, HttpError> {
    let arrived = Instant::now();
    let reception = doors.events.as_ref().ok_or(HttpError::NotFound)?;
    let presumed = reception.source(&source)?;
    let source = &*presumed.source;
    let headers = request.headers();
    let said = neutral(headers);
    let asked = |body| source::Request {
        method: request.method().as_str(),
        query: request.query_string(),
        headers: &said,
        body,
    };
    if request.method() != Method::POST {
        let handshake = reception.handshake(source, &asked(b"")).await?;
        return handshake
            .map(error::handshake)
            .ok_or(HttpError::MethodNotAllowed { allowed: "POST" });
    }
    // A stranger's body is read only where it is what proves the sender.
    let known = match source.needs_body() {
        true => None,
        false => Some(reception.verify(&presumed, &asked(b"")).await?),
    };
    let (limit, memory) = (source.limits.body_bytes, &doors.bodies.events);
    let turned_away = |error: &HttpError| reception.turn_away(source, error.code(), &error.to_string());
    let body = in_time(arrived + BODY_LIMIT, read(headers, payload, limit, memory)).await;
    let body = body.inspect_err(turned_away)?;
    if let Some(handshake) = reception.handshake(source, &asked(&body.bytes)).await? {
        return Ok(error::handshake(handshake));
    }
    let verified = match known {
        Some(verified) => verified,
        None => reception.verify(&presumed, &asked(&body.bytes)).await?,
    };
    let body = inflate(headers, body, limit, memory).inspect_err(turned_away)?;
    let delivery = Delivery {
        headers: &said,
        body: &body.bytes,
        received: reception.clock.now(),
    };
    let receipt = reception.take(verified, &delivery, arrived).await?;
    Ok(error::receipt(&receipt))
}

/// The headers as sources read them, whatever a delivery comes by.
fn neutral(headers: &HeaderMap) -> http::HeaderMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    pairs.collect()
}

/// The types, versions and schemas of events, for whoever sends them.
async fn catalogue(request: HttpRequest, doors: Data<Doors>) -> Result<HttpResponse, HttpError> {
    admit(&doors.auth, request.headers(), b"").await?;
    let reception = doors.events.as_ref().ok_or(HttpError::NotFound)?;
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

/// What is said in a conversation unasked, as server-sent events, for the callers that may post turns.
async fn stream(
    request: HttpRequest,
    session: web::Path<String>,
    query: web::Query<StreamQuery>,
    doors: Data<Doors>,
) -> Result<HttpResponse, HttpError> {
    admit(&doors.auth, request.headers(), b"").await?;
    let session = SessionName::parse(&session)?;
    Span::current().record("session.id", session.id());
    let last_event_id = text(request.headers(), &header::HeaderName::from_static("last-event-id"))
        .filter(|id| !id.is_empty())
        .or(query.last_event_id.as_deref());
    let after = last_event_id
        .map(|id| {
            let number = id.trim().parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| HttpError::BadEventId {
                found: id.chars().take(100).collect(),
            })
        })
        .transpose()?;
    let events = doors.conversation.stream(&session, after).await?;
    let events = events.take_until(Box::pin(withdrawn(Arc::clone(&doors.auth), request.headers().clone())));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // What stands before the service passes each message on at once.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

/// Waits until what a caller was admitted with no longer admits it.
async fn withdrawn(auth: Arc<Auth>, headers: HeaderMap) {
    loop {
        tokio::time::sleep(ADMITTED_AGAIN).await;
        if !auth.still_admits(&headers).await {
            info!("a stream's credentials are withdrawn; it ends");
            return;
        }
    }
}

/// Where a client that cannot set headers goes on reading.
#[derive(serde::Deserialize)]
struct StreamQuery {
    last_event_id: Option<String>,
}
