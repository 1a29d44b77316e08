//! A page that the bot brings along, for talking with it in a browser.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{self, ServiceConfig};

use crate::error::only;

/// What the page may load and do: its own files alone, no code within it, and in no frame of another page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page of three files, such as `include_str!` takes in. The first loads the others as `/chat/script.js` and
/// `/chat/style.css`, and has no script or style of its own, for the browser is told to run none.
#[derive(Clone, Copy, Debug)]
pub struct ChatPage {
    /// At `/chat`.
    pub html: &'static str,
    /// At `/chat/script.js`.
    pub script: &'static str,
    /// At `/chat/style.css`.
    pub style: &'static str,
}

impl ChatPage {
    /// Its routes. They need no guard: nothing is told there of anybody.
    pub(crate) fn routes(self, config: &mut ServiceConfig) {
        let files = [
            ("/chat", "text/html; charset=utf-8", self.html),
            ("/chat/script.js", "text/javascript; charset=utf-8", self.script),
            ("/chat/style.css", "text/css; charset=utf-8", self.style),
        ];
        for (path, media, text) in files {
            config.service(
                web::resource(path)
                    .get(move || async move { file(media, text) })
                    .default_service(web::to(|| only("GET, HEAD"))),
            );
        }
    }
}

fn file(media: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, media))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(text)
}
