//! How the process is: `/healthz`, `/readyz` and `/metrics`, of a service and of a worker alike.

pub(crate) mod figures;
mod process;
mod rows;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use anyhow::bail;
use prometheus_client::registry::Registry;

use crate::error::{HttpError, only};
use crate::fulfillment::Fulfillment;
use crate::guard::{Admitted, Guard};
use crate::postgres::Database;
use crate::telemetry::Metrics;
use crate::terms::Terms;

/// What is asked how it is.
pub(crate) struct Operated {
    pub(crate) guard: Arc<Guard>,
    pub(crate) database: Database,
    pub(crate) metrics: Metrics,
    /// Of what is looked at when it is asked for.
    pub(crate) figures: Registry,
    pub(crate) terms: Terms,
    /// `None` where no turns are answered.
    pub(crate) fulfillment: Option<Arc<Fulfillment>>,
}

/// Why nothing more should be sent here.
#[derive(Debug, thiserror::Error)]
#[error("not ready: {0}")]
struct NotReady(&'static str);

impl From<NotReady> for HttpError {
    fn from(not_ready: NotReady) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", &not_ready)
    }
}

impl Operated {
    /// Its routes: how the process is anybody may ask, what it does the callers that its guard admits.
    pub(crate) fn routes(self: Arc<Self>, config: &mut ServiceConfig) {
        let guard = Arc::clone(&self.guard);
        config.service(
            web::resource("/metrics")
                .get(metrics)
                .default_service(web::to(|| only("GET, HEAD")))
                .wrap(from_fn(move |request, next| Arc::clone(&guard).callers(request, next))),
        );
        self.health_routes(config);
    }

    /// Those that tell how the process is.
    pub(crate) fn health_routes(self: Arc<Self>, config: &mut ServiceConfig) {
        config
            .app_data(Data::from(self))
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
            );
    }
}

/// An address that others can reach wants callers who can be told apart.
///
/// # Errors
/// When `listen`, the value of `setting`, is not loopback and no caller method is set.
pub(crate) fn expect_guarded(setting: &str, listen: SocketAddr, guards: &[&Guard]) -> anyhow::Result<()> {
    if guards.iter().any(|guard| guard.is_open()) && !listen.ip().is_loopback() {
        bail!(
            "{setting}: found {listen}, expected a loopback address while no caller method is set; set one of AUTH_BASIC, \
             AUTH_BEARER, AUTH_JWT_KEY, AUTH_JWT_JWKS_URL, AUTH_GOOGLE_PROJECT_NUMBER, AUTH_HMAC_SECRET, TLS_CLIENT_CA_FILE"
        );
    }
    Ok(())
}

/// The process lives.
async fn alive() -> &'static str {
    "alive\n"
}

/// The database answers, events are applied where they are to be, and more may come.
async fn ready(operated: Data<Operated>) -> Result<&'static str, HttpError> {
    if operated.terms.is_leaving() {
        return Err(NotReady("the service stops").into());
    }
    if !operated.database.is_up() {
        return Err(NotReady("the database does not answer").into());
    }
    // By then it should have found connections that answer.
    let limit = 2 * operated.database.silence();
    if operated.metrics.events().vitals.is_stalled(limit) {
        return Err(NotReady("events are not applied: the worker cannot beat").into());
    }
    Ok("ready\n")
}

/// The metrics, for admitted callers.
async fn metrics(_: Admitted, operated: Data<Operated>) -> Result<HttpResponse, HttpError> {
    let late_replies = match &operated.fulfillment {
        Some(fulfillment) => fulfillment.late_replies().await,
        None => 0,
    };
    let text = operated
        .metrics
        .text(late_replies, &operated.figures)
        .map_err(|_| NotReady("metrics cannot be written"))?;
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, open_metrics))
        .body(text))
}
