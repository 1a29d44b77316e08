//! Who may come in: the guard of every door but that of the sources.

use actix_web::http::header::{self, HeaderMap};
use tracing::Span;
use url::{Host, Url};

use crate::auth::{self, Auth};
use crate::error::Refused;

/// Admits a caller by any method that is set; `body` is empty where it has not been read.
///
/// # Errors
/// When no method admits the caller, or the keys of one cannot be had.
pub(crate) async fn admit(auth: &Auth, headers: &HeaderMap, body: &[u8]) -> Result<(), Refused> {
    if auth.is_open() {
        return expect_loopback(headers);
    }
    match auth.admit(headers, body).await {
        Ok(caller) => {
            Span::current().record("caller", tracing::field::debug(caller));
            Ok(())
        }
        Err(auth::Refused::NoCredentials | auth::Refused::Rejected) => Err(Refused::Unauthorized {
            challenges: auth.challenges().to_vec(),
        }),
        Err(auth::Refused::KeysUnavailable) => Err(Refused::KeysUnavailable),
    }
}

/// While everybody is admitted, only who has meant this machine: a page in a browser may have had the browser take a
/// name of its own for this address, and the browser says that name.
fn expect_loopback(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(found) = headers.get(header::HOST) else {
        // No browser leaves it out.
        return Ok(());
    };
    let found = String::from_utf8_lossy(found.as_bytes());
    let host = Url::parse(&format!("http://{found}")).ok();
    let is_loopback = match host.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_loopback {
        return Ok(());
    }
    let found = found.chars().take(100).collect();
    Err(Refused::BadHost { found })
}
