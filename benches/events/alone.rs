//! Contestant (a): the same requests, verified the same way, one INSERT and so one commit for each.

use std::net::SocketAddr;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use rejoinder::Clock;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::shared::load::SECRET;

#[derive(clap::Args)]
pub(crate) struct Alone {
    listen: SocketAddr,
    url: String,
    /// Connections of the pool.
    #[arg(long)]
    size: u32,
}

impl Alone {
    /// Serves until a signal.
    pub(crate) fn serve(self) -> anyhow::Result<()> {
        actix_web::rt::System::new().block_on(async {
            let pool = PgPoolOptions::new()
                .max_connections(self.size)
                .connect(&self.url)
                .await?;
            let pool = Data::new(pool);
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(pool.clone())
                    .route("/events/generic", web::post().to(store))
            });
            server.bind(self.listen)?.run().await?;
            Ok(())
        })
    }
}

#[derive(Deserialize)]
struct Event {
    event_id: String,
    event_type: String,
    timestamp: DateTime<Utc>,
    entity_id: String,
    schema_version: i32,
    payload: Box<RawValue>,
}

async fn store(request: HttpRequest, body: Bytes, pool: Data<PgPool>) -> HttpResponse {
    if !is_signed(&request, &body) {
        return HttpResponse::Unauthorized().finish();
    }
    let event: Event = match serde_json::from_slice(&body) {
        Ok(event) => event,
        Err(error) => return HttpResponse::BadRequest().body(error.to_string()),
    };
    let stored = sqlx::query(
        "insert into rejoinder.event_log (position, partition, source, event_id, event_type, entity_id, schema_version,
             occurred_at, received_at, payload)
         values (nextval('rejoinder.event_positions'), $1, 'generic', $2, $3, $4, $5, $6, $7, $8::text::json)",
    )
    .bind(i16::from(
        event.entity_id.as_bytes().last().copied().unwrap_or_default() % 32,
    ))
    .bind(&event.event_id)
    .bind(&event.event_type)
    .bind(&event.entity_id)
    .bind(event.schema_version)
    .bind(event.timestamp)
    .bind(Clock::system().now())
    .bind(event.payload.get())
    .execute(&**pool)
    .await;
    match stored {
        Ok(_) => HttpResponse::Accepted().json(json!({"event_id": event.event_id, "status": "stored"})),
        Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
    }
}

fn is_signed(request: &HttpRequest, body: &[u8]) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature").and_then(|value| STANDARD.decode(value.strip_prefix("v1,")?).ok());
    let (Some(id), Some(timestamp), Some(signature)) = (id, timestamp, signature) else {
        return false;
    };
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), &message, &signature).is_ok()
}
