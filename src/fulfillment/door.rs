//! The door of turns: its route, the order in which a caller is believed, and how a refusal is told.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::{Fulfillment, Refused};
use crate::body::{BODY_LIMIT, BodyMemory, expect_json, inflate, read};
use crate::error::{HttpError, only};
use crate::guard::{Admitted, Guard};
use crate::platform::NotATurn;
use crate::telemetry::TURNS;

/// The largest turn that is taken, in bytes, before and after it is inflated.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// What turns are answered with.
pub(crate) struct TurnsDoor {
    pub(crate) fulfillment: Arc<Fulfillment>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) memory: BodyMemory,
}

impl TurnsDoor {
    /// Its route, behind its guard.
    pub(crate) fn routes(self: Arc<Self>, config: &mut ServiceConfig) {
        let guard = Arc::clone(&self.guard);
        config.app_data(Data::from(self)).service(
            web::resource([TURNS, "/fulfillment/"])
                .post(turn)
                .default_service(web::to(|| only("POST")))
                .wrap(from_fn(move |request, next| Arc::clone(&guard).callers(request, next))),
        );
    }
}

/// Reads the turn of an admitted caller and answers it.
async fn turn(
    request: HttpRequest,
    payload: Payload,
    admitted: Admitted,
    door: Data<TurnsDoor>,
) -> Result<HttpResponse, HttpError> {
    let Admitted { arrived, body, .. } = admitted;
    let headers = request.headers();
    expect_json(headers)?;
    let body = match body {
        Some(body) => body,
        None => read(headers, payload, MAX_BODY, &door.memory, arrived + BODY_LIMIT).await?,
    };
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
