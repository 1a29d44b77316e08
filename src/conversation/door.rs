//! The door of streams: its route, whom it lets listen and for how long, and how a refusal is told.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tracing::{Span, info};

use super::Conversation;
use super::stream::NoStream;
use crate::body::text;
use crate::error::{HttpError, only};
use crate::guard::{Admitted, Guard};
use crate::session::{BadSessionName, SessionName};

/// How often the credentials of an open stream are looked at again.
const ADMITTED_AGAIN: Duration = Duration::from_secs(2);

/// What streams are opened with.
pub(crate) struct StreamsDoor {
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) guard: Arc<Guard>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("session: {0}")]
    BadSession(#[from] BadSessionName),
    #[error("Last-Event-ID: found {found:?}, expected the id of an event of the stream, a whole number")]
    BadEventId { found: String },
    #[error(transparent)]
    NoStream(#[from] NoStream),
}

/// Where a client that cannot set headers goes on reading.
#[derive(serde::Deserialize)]
struct StreamQuery {
    last_event_id: Option<String>,
}

impl StreamsDoor {
    /// Its route, behind its guard.
    pub(crate) fn routes(self: Arc<Self>, config: &mut ServiceConfig) {
        let guard = Arc::clone(&self.guard);
        config.app_data(Data::from(self)).service(
            web::resource("/conversations/{session:.+}/stream")
                .get(stream)
                .default_service(web::to(|| only("GET")))
                .wrap(from_fn(move |request, next| Arc::clone(&guard).callers(request, next))),
        );
    }
}

/// What is said in a conversation unasked, as server-sent events, for the callers that may post turns.
async fn stream(
    request: HttpRequest,
    session: web::Path<String>,
    query: web::Query<StreamQuery>,
    _: Admitted,
    door: Data<StreamsDoor>,
) -> Result<HttpResponse, HttpError> {
    let session = SessionName::parse(&session).map_err(Refused::from)?;
    Span::current().record("session.id", session.id());
    let last_event_id = text(request.headers(), &HeaderName::from_static("last-event-id"))
        .filter(|id| !id.is_empty())
        .or(query.last_event_id.as_deref());
    let after = last_event_id
        .map(|id| {
            let number = id.trim().parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| Refused::BadEventId {
                found: id.chars().take(100).collect(),
            })
        })
        .transpose()?;
    let events = door.conversation.stream(&session, after).await;
    let events = events.map_err(Refused::from)?;
    let events = events.take_until(Box::pin(withdrawn(Arc::clone(&door.guard), request)));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // What stands before the service passes each message on at once.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

/// Waits until what a caller was admitted with no longer admits it.
async fn withdrawn(guard: Arc<Guard>, request: HttpRequest) {
    loop {
        tokio::time::sleep(ADMITTED_AGAIN).await;
        if !guard.still_admits(&request).await {
            info!("a stream's credentials are withdrawn; it ends");
            return;
        }
    }
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        let told = |status, code| Self::new(status, code, &refused);
        match refused {
            Refused::BadSession(_) => told(StatusCode::BAD_REQUEST, "bad_session"),
            Refused::BadEventId { .. } => told(StatusCode::BAD_REQUEST, "bad_event_id"),
            Refused::NoStream(NoStream::TooMany | NoStream::Stopping | NoStream::NoDatabase) => {
                told(StatusCode::SERVICE_UNAVAILABLE, "no_stream").come_again()
            }
        }
    }
}
