//! The door of turns: its route, the order in which a caller is believed, and how a refusal is told.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use tokio::time::Instant;

use super::{Fulfillment, Refused};
use crate::admission::admit;
use crate::auth::Auth;
use crate::body::{BODY_LIMIT, BodyMemory, expect_json, inflate, read};
use crate::clock::before;
use crate::error::{self, HttpError, only};
use crate::platform::NotATurn;
use crate::telemetry::TURNS;

/// The largest turn that is taken, in bytes, before and after it is inflated.
const MAX_BODY: usize = 1024 * 1024;

/// What turns are answered with.
pub(crate) struct TurnsDoor {
    pub(crate) fulfillment: Arc<Fulfillment>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) memory: BodyMemory,
}

/// Its route, on [`TurnsDoor`].
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource([TURNS, "/fulfillment/"])
            .post(turn)
            .default_service(web::to(|| only("POST"))),
    );
}

/// Admits the caller, reads the turn and answers it. A stranger's body is read only where it is what proves the caller.
async fn turn(request: HttpRequest, payload: Payload, door: Data<TurnsDoor>) -> Result<HttpResponse, HttpError> {
    let arrived = Instant::now();
    // Both before the budget is spent: a caller whose keys cannot be fetched in time is answered, too.
    let patience = arrived + BODY_LIMIT;
    let headers = request.headers();
    let admitted = async |body: &[u8]| {
        let admitted = before(patience, admit(&door.auth, headers, body)).await;
        admitted.map_err(|_| error::Refused::KeysUnavailable)?
    };
    let is_proof = door.auth.needs_body(headers);
    if !is_proof {
        admitted(b"").await?;
        expect_json(headers)?;
    }
    let body = read(headers, payload, MAX_BODY, &door.memory, patience).await?;
    if is_proof {
        admitted(&body.bytes).await?;
        expect_json(headers)?;
    }
    let body = inflate(headers, body, MAX_BODY, &door.memory)?;
    let reply = door.fulfillment.answer(body.bytes.clone(), arrived).await?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(reply))
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        let told = |status, code| Self::new(status, code, &refused);
        match &refused {
            Refused::NotATurn(NotATurn::Json(bad)) => told(StatusCode::BAD_REQUEST, "not_json")
                .with("line", bad.line)
                .with("column", bad.column),
            Refused::NotATurn(NotATurn::Field { field, .. }) => {
                told(StatusCode::BAD_REQUEST, "not_a_turn").with("field", field.as_str())
            }
            Refused::NoHandler { field, .. } => told(StatusCode::BAD_REQUEST, "no_handler").with("field", *field),
            Refused::Failed => told(StatusCode::SERVICE_UNAVAILABLE, "handler_failed"),
        }
    }
}
