//! The door: the route table of the whole service, and how a request becomes bytes to answer.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, ContentType, HeaderMap, HeaderValue};
use actix_web::web::{self, Bytes, BytesMut, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tracing::Span;

use crate::auth::{Auth, Refused as CallerRefused};
use crate::clock::before;
use crate::error::HttpError;
use crate::fulfillment::Fulfillment;
use crate::postgres::Database;
use crate::telemetry::Metrics;

/// The largest body that is taken, in bytes, before and after it is inflated.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Where turns are posted.
pub(crate) const TURNS: &str = "/fulfillment";

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(4);

/// What requests are answered with.
pub(crate) struct Doors {
    pub(crate) fulfillment: Arc<Fulfillment>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) database: Database,
    pub(crate) metrics: Metrics,
}

/// The route table.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource(TURNS)
                .post(turn)
                .default_service(web::to(|| only("POST"))),
        )
        .service(
            web::resource("/healthz")
                .get(alive)
                .route(web::head().to(alive))
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .service(
            web::resource("/readyz")
                .get(ready)
                .route(web::head().to(ready))
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .service(
            web::resource("/metrics")
                .get(metrics)
                .default_service(web::to(|| only("GET, HEAD"))),
        )
        .default_service(web::to(async || Err::<HttpResponse, _>(HttpError::NotFound)));
}

async fn only(allowed: &'static str) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed { allowed })
}

async fn turn(request: HttpRequest, payload: Payload, doors: Data<Doors>) -> Result<HttpResponse, HttpError> {
    let arrived = Instant::now();
    // Both before the budget is spent: a caller whose keys cannot be fetched in time is answered, too.
    let patience = arrived + BODY_LIMIT;
    let body = before(patience, read(request.headers(), payload))
        .await
        .map_err(|_| HttpError::TooSlow {
            limit_ms: BODY_LIMIT.as_millis(),
        })?;
    if !doors.auth.is_open() {
        before(
            patience,
            admit(&doors, request.headers(), body.as_deref().unwrap_or_default()),
        )
        .await
        .map_err(|_| HttpError::KeysUnavailable)??;
    }
    let body = inflate(request.headers(), expect_json(request.headers()).and(body)?)?;
    let answered = doors.fulfillment.answer(body, arrived).await?;
    let body = answered.body.ok_or(HttpError::HandlerFailed)?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(body))
}

/// The process lives.
async fn alive() -> &'static str {
    "alive\n"
}

/// Turns can be answered from the database.
async fn ready(doors: Data<Doors>) -> Result<&'static str, HttpError> {
    if doors.database.is_up() {
        Ok("ready\n")
    } else {
        Err(HttpError::NotReady("the database does not answer"))
    }
}

/// The metrics, for the callers that may post turns.
async fn metrics(request: HttpRequest, doors: Data<Doors>) -> Result<HttpResponse, HttpError> {
    admit(&doors, request.headers(), b"").await?;
    let text = doors
        .metrics
        .text(doors.fulfillment.late_replies().await)
        .map_err(|_| HttpError::NotReady("metrics cannot be written"))?;
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, open_metrics))
        .body(text))
}

async fn admit(doors: &Doors, headers: &HeaderMap, body: &[u8]) -> Result<(), HttpError> {
    if doors.auth.is_open() {
        return Ok(());
    }
    match doors.auth.admit(headers, body).await {
        Ok(caller) => {
            Span::current().record("caller", tracing::field::debug(caller));
            Ok(())
        }
        Err(CallerRefused::NoCredentials | CallerRefused::Rejected) => Err(HttpError::Unauthorized {
            challenges: doors.auth.challenges().to_vec(),
        }),
        Err(CallerRefused::KeysUnavailable) => Err(HttpError::KeysUnavailable),
    }
}

/// The body as it was sent.
async fn read(headers: &HeaderMap, mut payload: Payload) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::TooLarge {
        limit: MAX_BODY,
        inflated: false,
    };
    let length = text(headers, &header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok())
        .unwrap_or(0);
    if length > MAX_BODY {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(length);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| HttpError::BrokeOff(error.to_string()))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// JSON must be said to be JSON: what a browser can post to another site without asking is refused.
fn expect_json(headers: &HeaderMap) -> Result<(), HttpError> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let found = String::from_utf8_lossy(found).into_owned();
    let mut parts = found.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    let charset = parts.find_map(|part| {
        part.to_ascii_lowercase()
            .strip_prefix("charset=")
            .map(|set| set.trim_matches('"').to_owned())
    });
    if json && charset.is_none_or(|charset| charset == "utf-8" || charset == "utf8") {
        return Ok(());
    }
    let found = found.chars().take(100).collect();
    Err(HttpError::UnsupportedMedia {
        header: "Content-Type",
        found,
        expected: "application/json in UTF-8",
    })
}

/// The body without its Content-Encoding; never more than [`MAX_BODY`].
fn inflate(headers: &HeaderMap, body: Bytes) -> Result<Bytes, HttpError> {
    let encoding = text(headers, &header::CONTENT_ENCODING)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => inflate_with(MultiGzDecoder::new(&body[..]), "gzip"),
        // RFC 9110 means zlib; some clients send bare deflate.
        "deflate" => inflate_with(ZlibDecoder::new(&body[..]), "deflate").or_else(|error| match error {
            HttpError::BadEncoding { .. } => inflate_with(DeflateDecoder::new(&body[..]), "deflate"),
            other => Err(other),
        }),
        other => {
            let found = other.chars().take(100).collect();
            Err(HttpError::UnsupportedMedia {
                header: "Content-Encoding",
                found,
                expected: "gzip, deflate or identity",
            })
        }
    }
}

fn inflate_with(decoder: impl Read, encoding: &'static str) -> Result<Bytes, HttpError> {
    let mut body = Vec::new();
    let limit = MAX_BODY as u64 + 1;
    decoder
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|_| HttpError::BadEncoding { encoding })?;
    if body.len() > MAX_BODY {
        return Err(HttpError::TooLarge {
            limit: MAX_BODY,
            inflated: true,
        });
    }
    Ok(body.into())
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
}
