//! The door of plain HTTP where HTTPS is spoken elsewhere: whatever is asked is sent there.

use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use url::Url;

use crate::error::{HttpError, Refused};

/// The port of HTTPS that no URL has to name.
const HTTPS: u16 = 443;

/// Where HTTPS is spoken, on the same host.
pub(crate) struct Elsewhere {
    pub(crate) port: u16,
}

/// Its one route, on [`Elsewhere`].
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.default_service(web::to(send_on));
}

async fn send_on(request: HttpRequest, elsewhere: Data<Elsewhere>) -> Result<HttpResponse, HttpError> {
    let found = request
        .headers()
        .get(header::HOST)
        .map(|host| host.as_bytes())
        .unwrap_or_default();
    let found = String::from_utf8_lossy(found);
    let host = host(&found).ok_or_else(|| Refused::NoHost {
        found: found.chars().take(100).collect(),
    })?;
    let port = match elsewhere.port {
        HTTPS => String::new(),
        port => format!(":{port}"),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{host}{port}{path}");
    Ok(HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, location))
        .finish())
}

/// The name or address in a `Host`, without its port; `None` where it has none, or more than that.
fn host(found: &str) -> Option<String> {
    // A URL forgives what a `Host` may not have (RFC 9110, 7.2).
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !found.chars().all(is_plain) {
        return None;
    }
    let url = Url::parse(&format!("http://{found}/")).ok()?;
    url.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("bot.example", Some("bot.example"))]
    #[case("bot.example:8080", Some("bot.example"))]
    #[case("Bot.Example:80", Some("bot.example"))]
    #[case("[::1]:80", Some("[::1]"))]
    #[case("192.0.2.1", Some("192.0.2.1"))]
    #[case("", None)]
    #[case(":80", None)]
    #[case("bot.example:http", None)]
    #[case("a@evil.example", None)]
    #[case("evil.example/path", None)]
    #[case("evil.example\\path", None)]
    #[case("evil.example?", None)]
    #[case("two words", None)]
    fn host_is_a_name_or_an_address_and_no_more(#[case] found: &str, #[case] host: Option<&str>) {
        assert_eq!(super::host(found).as_deref(), host);
    }
}
