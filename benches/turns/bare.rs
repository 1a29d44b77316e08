//! Contestant (a): what actix-web and serde_json cost with nothing around them.

use std::hint::black_box;
use std::net::SocketAddr;

use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::Value;

#[derive(clap::Args)]
pub(crate) struct Bare {
    listen: SocketAddr,
    /// The constant.
    reply: String,
}

impl Bare {
    /// Serves until a signal.
    pub(crate) fn serve(self) -> anyhow::Result<()> {
        let reply = Data::new(Bytes::from(self.reply));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(reply.clone())
                .route("/fulfillment", web::post().to(answer))
        });
        actix_web::rt::System::new().block_on(server.bind(self.listen)?.run())?;
        Ok(())
    }
}

async fn answer(body: Bytes, reply: Data<Bytes>) -> HttpResponse {
    match serde_json::from_slice::<Value>(&body) {
        Ok(value) => {
            black_box(&value);
            HttpResponse::Ok()
                .insert_header(ContentType::json())
                .body(Bytes::clone(&reply))
        }
        Err(error) => HttpResponse::BadRequest().body(error.to_string()),
    }
}
