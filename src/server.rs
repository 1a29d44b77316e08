//! The doors put together: the routes of the whole service, and what is said where none of them leads.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::error::QueryPayloadError;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Data, QueryConfig, ServiceConfig};

use crate::chat_page::ChatPage;
use crate::config::ProxySettings;
use crate::conversation::door::StreamsDoor;
use crate::error::{HttpError, Refused, only};
use crate::fulfillment::door::TurnsDoor;
use crate::intake::door::EventsDoor;
use crate::operate::Operated;

/// What is said at `/`.
const WELCOME: &str = "\
Rejoinder answers here.

POST /fulfillment        a turn of Dialogflow ES or CX
POST /events/{source}    an event of a source
GET  /events/catalogue   the types of events
GET  /readyz             whether it is ready
";

/// What requests are answered with.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) turns: Arc<TurnsDoor>,
    pub(crate) events: Arc<EventsDoor>,
    pub(crate) streams: Arc<StreamsDoor>,
    pub(crate) operated: Arc<Operated>,
    /// What the bot shows in a browser, where it does.
    pub(crate) page: Option<ChatPage>,
    /// Whether the metrics are here, too.
    pub(crate) has_metrics: bool,
    pub(crate) proxies: Data<ProxySettings>,
}

impl Doors {
    /// All routes.
    pub(crate) fn routes(&self, config: &mut ServiceConfig) {
        config
            .app_data(self.operated.metrics.clone())
            .app_data(self.proxies.clone())
            .app_data(QueryConfig::default().error_handler(|error, _| bad_query(&error).into()))
            .service(
                web::resource("/")
                    .get(welcome)
                    .default_service(web::to(|| only("GET, HEAD"))),
            )
            .configure(|config| Arc::clone(&self.turns).routes(config))
            .configure(|config| Arc::clone(&self.events).routes(config))
            .configure(|config| Arc::clone(&self.streams).routes(config))
            .configure(|config| {
                if let Some(page) = self.page {
                    page.routes(config);
                }
            })
            .configure(|config| match self.has_metrics {
                true => Arc::clone(&self.operated).routes(config),
                false => Arc::clone(&self.operated).health_routes(config),
            })
            .default_service(web::to(async || {
                Err::<HttpResponse, HttpError>(Refused::NotFound.into())
            }));
    }
}

/// What a person sees who opens the address in a browser.
async fn welcome() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType::plaintext())
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(WELCOME)
}

fn bad_query(error: &QueryPayloadError) -> HttpError {
    Refused::BadQuery(error.to_string()).into()
}
