//! The door of streams: its routes, whom it lets listen and for how long, and how a refusal is told.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tracing::{Span, info};
use uuid::Uuid;

use super::places::{Place, Places};
use super::stream::NoStream;
use super::stream_token::{BadField, Right, Shown, StreamTokens, Wanted, Wrong};
use super::{Conversation, cors};
use crate::body::{BODY_LIMIT, BodyMemory, expect_json, inflate, read, text};
use crate::error::{self, HttpError, only};
use crate::guard::{Admitted, Client, Guard};
use crate::origins::Origins;
use crate::session::{BadSessionName, SessionName};

/// How often the credentials of an open stream are looked at again.
const ADMITTED_AGAIN: Duration = Duration::from_secs(2);

/// The largest request for a token, in bytes.
pub(crate) const MAX_WANTED: usize = 8 * 1024;

/// So many streams one token has open at a replica at most.
const MAX_OF_TOKEN: usize = 3;

/// So many of one client address that tokens have opened.
const MAX_OF_CLIENT: usize = 20;

/// What streams are opened with.
pub(crate) struct StreamsDoor {
    conversation: Arc<Conversation>,
    guard: Arc<Guard>,
    tokens: StreamTokens,
    origins: Origins,
    memory: BodyMemory,
    of_token: Places<Uuid>,
    of_client: Places<Client>,
}

/// Why there is no stream, or no token for one.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("session: {0}")]
    BadSession(#[from] BadSessionName),
    #[error("Last-Event-ID: found {found:?}, expected the id of an event of the stream, a whole number")]
    BadEventId { found: String },
    #[error(transparent)]
    BadField(#[from] BadField),
    #[error("Origin: found a page that is not listed, expected one of STREAM_ALLOWED_ORIGINS where a cookie is sent")]
    ForeignPage,
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error("{open} streams of this {whose} are open; no more are taken")]
    TooManyOpen { open: usize, whose: &'static str },
    #[error("no token can be made right now")]
    NoToken,
    #[error(transparent)]
    NoStream(#[from] NoStream),
}

/// Where a client that cannot set headers goes on reading.
#[derive(serde::Deserialize)]
struct StreamQuery {
    last_event_id: Option<String>,
}

/// What lets somebody listen.
enum Means {
    /// A token, and the places that its stream takes.
    Token {
        right: Right,
        _places: (Place<Uuid>, Place<Client>),
    },
    /// The credentials that the request has, or its connection.
    Credentials(HttpRequest),
}

impl StreamsDoor {
    pub(crate) fn new(
        conversation: Arc<Conversation>,
        guard: Arc<Guard>,
        tokens: StreamTokens,
        origins: Origins,
        memory: BodyMemory,
    ) -> Self {
        Self {
            conversation,
            guard,
            tokens,
            origins,
            memory,
            of_token: Places::new(MAX_OF_TOKEN),
            of_client: Places::new(MAX_OF_CLIENT),
        }
    }

    /// Its routes, behind its guard.
    pub(crate) fn routes(self: Arc<Self>, config: &mut ServiceConfig) {
        let (door, guard) = (Arc::clone(&self), Arc::clone(&self.guard));
        config
            .app_data(Data::from(self))
            .service(
                web::resource("/conversations/{session:.+}/stream")
                    .get(stream)
                    .route(web::method(Method::OPTIONS).to(preflight))
                    .default_service(web::to(|| only("GET")))
                    .wrap(from_fn(move |request, next| Arc::clone(&door).listeners(request, next))),
            )
            .service(
                web::resource("/stream-tokens")
                    .post(make_token)
                    .default_service(web::to(|| only("POST")))
                    .wrap(from_fn(move |request, next| Arc::clone(&guard).callers(request, next))),
            );
    }

    /// Lets callers through, those who show a token (which the route judges), and browsers that ask for a page of a listed origin.
    async fn listeners<B: MessageBody>(
        self: Arc<Self>,
        request: ServiceRequest,
        next: Next<B>,
    ) -> actix_web::Result<ServiceResponse<EitherBody<B>>> {
        let (method, headers) = (request.method(), request.headers());
        let listed = cors::listed(&self.origins, headers);
        let is_asked_before = cors::is_preflight(method, headers) && listed.is_some();
        let has_token = method == Method::GET && Shown::of(request.request()).is_some();
        let guard = Arc::clone(&self.guard);
        let mut answer = match is_asked_before || has_token {
            true => guard.senders(request, next).await?,
            false => guard.callers(request, next).await?,
        };
        cors::tell(answer.headers_mut(), listed);
        Ok(answer)
    }

    /// What lets the client of a request listen to `session`, which its guard has let through.
    async fn means(&self, request: &HttpRequest, session: &SessionName, client: Client) -> Result<Means, Refused> {
        let headers = request.headers();
        let Some(shown) = Shown::of(request) else {
            return Ok(Means::Credentials(request.clone()));
        };
        if matches!(shown, Shown::Cookie(_)) && cors::is_foreign(&self.origins, headers) {
            return Err(Refused::ForeignPage);
        }
        let right = self.tokens.read(shown.text(), session).await?;
        let of_token = self.of_token.take(right.token_id).ok_or(Refused::TooManyOpen {
            open: MAX_OF_TOKEN,
            whose: "token",
        })?;
        let of_client = self.of_client.take(client).ok_or(Refused::TooManyOpen {
            open: MAX_OF_CLIENT,
            whose: "address",
        })?;
        Span::current().record("caller", tracing::field::debug(right.token_id));
        Ok(Means::Token {
            right,
            _places: (of_token, of_client),
        })
    }

    /// Waits until what lets somebody listen does so no longer.
    async fn ended(self: Arc<Self>, means: Means) {
        loop {
            let wait = match &means {
                Means::Token { right, .. } => (right.until - self.tokens.now()).to_std().unwrap_or_default(),
                Means::Credentials(_) => ADMITTED_AGAIN,
            };
            tokio::time::sleep(wait.min(ADMITTED_AGAIN)).await;
            let lasts = match &means {
                Means::Token { right, .. } => self.tokens.now() < right.until,
                Means::Credentials(request) => self.guard.still_admits(request).await,
            };
            if !lasts {
                info!("a stream's credentials are withdrawn or over; it ends");
                return;
            }
        }
    }
}

/// What is said in a conversation unasked, as server-sent events, for the callers that may post turns, and who has a token.
async fn stream(
    request: HttpRequest,
    session: web::Path<String>,
    query: web::Query<StreamQuery>,
    admitted: Admitted,
    door: Data<StreamsDoor>,
) -> Result<HttpResponse, HttpError> {
    let session = SessionName::parse(&session).map_err(Refused::from)?;
    Span::current().record("session.id", session.id());
    let means = door.means(&request, &session, Client::of(admitted.client)).await;
    let means = means.map_err(|refused| {
        let refused = HttpError::from(refused);
        door.guard.tell(admitted.client, &refused);
        refused
    })?;
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
    let events = events.take_until(Box::pin(door.into_inner().ended(means)));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // What stands before the service passes each message on at once.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

/// What a page of a listed origin may do; for any other one there is nothing to ask.
async fn preflight(request: HttpRequest, _: Admitted, door: Data<StreamsDoor>) -> Result<HttpResponse, HttpError> {
    let headers = request.headers();
    if !cors::is_preflight(request.method(), headers) || cors::listed(&door.origins, headers).is_none() {
        return only("GET").await;
    }
    let mut answer = HttpResponse::NoContent().finish();
    cors::allow(answer.headers_mut());
    Ok(answer)
}

/// Makes a token for one session, for an admitted caller to give to its page.
async fn make_token(
    request: HttpRequest,
    payload: Payload,
    admitted: Admitted,
    door: Data<StreamsDoor>,
) -> Result<HttpResponse, HttpError> {
    let headers = request.headers();
    expect_json(headers)?;
    let body = match admitted.body {
        Some(body) => body,
        None => {
            read(
                headers,
                payload,
                MAX_WANTED,
                &door.memory,
                admitted.arrived + BODY_LIMIT,
            )
            .await?
        }
    };
    let body = inflate(headers, body, MAX_WANTED, &door.memory)?;
    let wanted = Wanted::read(&body.bytes).map_err(Refused::from)?;
    Span::current().record("session.id", wanted.session.id());
    let made = door.tokens.make(&wanted).await.map_err(|error| {
        info!(error = format!("{error:#}"), "no stream token made");
        Refused::NoToken
    })?;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(made))
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        let told = |status, code| Self::new(status, code, &refused);
        match &refused {
            Refused::BadSession(_) => told(StatusCode::BAD_REQUEST, "bad_session"),
            Refused::BadEventId { .. } => told(StatusCode::BAD_REQUEST, "bad_event_id"),
            Refused::BadField(bad) => told(StatusCode::BAD_REQUEST, "bad_field")
                .with("field", bad.field.as_str())
                .with("found", bad.found.as_str())
                .with("expected", bad.expected.as_str()),
            Refused::ForeignPage => told(StatusCode::FORBIDDEN, "foreign_page"),
            Refused::Wrong(Wrong::Forged | Wrong::Expired | Wrong::OtherSession) => error::Refused::Unauthorized {
                challenges: vec![HeaderValue::from_static("Bearer")],
                reasons: refused.to_string(),
            }
            .into(),
            Refused::Wrong(Wrong::NoKey(_)) => error::Refused::KeysUnavailable.into(),
            Refused::TooManyOpen { .. } => told(StatusCode::TOO_MANY_REQUESTS, "too_many_streams").come_again(),
            Refused::NoToken => told(StatusCode::SERVICE_UNAVAILABLE, "no_token").come_again(),
            Refused::NoStream(NoStream::TooMany | NoStream::Stopping | NoStream::NoDatabase) => {
                told(StatusCode::SERVICE_UNAVAILABLE, "no_stream").come_again()
            }
        }
    }
}
