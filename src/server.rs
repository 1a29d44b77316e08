//! The doors put together: the routes of the whole service, and what is said where none of them leads.

use actix_web::HttpResponse;
use actix_web::error::QueryPayloadError;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Data, QueryConfig, ServiceConfig};

use crate::conversation::door::{self as streams, StreamsDoor};
use crate::error::{HttpError, Refused, only};
use crate::fulfillment::door::{self as turns, TurnsDoor};
use crate::intake::door::{self as events, EventsDoor};
use crate::operate::{self, Operated};

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
    pub(crate) turns: Data<TurnsDoor>,
    pub(crate) events: Data<EventsDoor>,
    pub(crate) streams: Data<StreamsDoor>,
    pub(crate) operated: Data<Operated>,
}

impl Doors {
    /// All routes.
    pub(crate) fn routes(&self, config: &mut ServiceConfig) {
        config
            .app_data(QueryConfig::default().error_handler(|error, _| bad_query(&error).into()))
            .app_data(self.turns.clone())
            .app_data(self.events.clone())
            .app_data(self.streams.clone())
            .app_data(self.operated.clone())
            .service(
                web::resource("/")
                    .get(welcome)
                    .default_service(web::to(|| only("GET, HEAD"))),
            )
            .configure(turns::routes)
            .configure(events::routes)
            .configure(streams::routes)
            .configure(operate::routes)
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
