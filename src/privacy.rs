//! By which way requests may come: encrypted, or in plain text from where nobody reads along.

use std::net::{IpAddr, SocketAddr};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use anyhow::bail;

use crate::config::ProxySettings;
use crate::error::{HttpError, Refused};
use crate::peer::Peer;

/// What orchestrators ask, in plain text and from addresses of their own.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Plain HTTP on an address that others can reach wants proxies that end TLS before it.
///
/// # Errors
/// When `listen`, the value of `setting`, is not loopback, and neither TLS is spoken there nor a proxy trusted.
pub(crate) fn expect_private(
    setting: &str,
    listen: SocketAddr,
    is_encrypted: bool,
    proxies: &ProxySettings,
) -> anyhow::Result<()> {
    if !is_encrypted && proxies.is_empty() && !is_loopback(listen.ip()) {
        bail!(
            "{setting}: found {listen}, expected a loopback address while plain HTTP is spoken to everybody; set TLS_CERT_FILE \
             and TLS_KEY_FILE, or, where a proxy ends TLS, TRUSTED_PROXIES to its address or network"
        );
    }
    Ok(())
}

/// Passes on what came encrypted, or from loopback or a proxy of the app's [`ProxySettings`], and probes.
/// All else is [`Refused::PlainHttp`].
pub(crate) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let is_private = Peer::of(&request).is_some_and(|peer| {
        let proxies = request.app_data::<Data<ProxySettings>>();
        peer.is_encrypted || may_be_plain(peer.address.ip(), proxies.map(|proxies| &***proxies))
    });
    if is_private || PROBES.contains(&request.path()) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    // An answer, not an error of the app's: so it is counted as all that are refused.
    let refused = HttpError::from(Refused::PlainHttp);
    Ok(request.error_response(refused).map_into_right_body())
}

fn may_be_plain(from: IpAddr, proxies: Option<&ProxySettings>) -> bool {
    is_loopback(from) || proxies.is_some_and(|proxies| proxies.contains(from))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn proxies(networks: &[&str]) -> ProxySettings {
        ProxySettings {
            trusted_proxies: networks.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    #[rstest]
    #[case("127.0.0.1", true)]
    #[case("127.8.8.8", true)]
    #[case("::1", true)]
    #[case("::ffff:127.0.0.1", true)]
    #[case("10.0.0.7", true)]
    #[case("::ffff:10.0.0.7", true)]
    #[case("192.0.2.1", false)]
    #[case("fe80::1", false)]
    fn plain_http_is_taken_from_loopback_and_from_trusted_networks(#[case] from: &str, #[case] is_taken: bool) {
        let from = from.parse().unwrap();
        assert_eq!(may_be_plain(from, Some(&proxies(&["10.0.0.0/8"]))), is_taken);
    }

    #[rstest]
    #[case("127.0.0.1:80", false, &[], true)]
    #[case("0.0.0.0:80", false, &[], false)]
    #[case("[::]:80", false, &[], false)]
    #[case("0.0.0.0:80", true, &[], true)]
    #[case("0.0.0.0:80", false, &["10.0.0.0/8"], true)]
    fn plain_http_for_everybody_is_no_way_to_start(
        #[case] listen: &str,
        #[case] is_encrypted: bool,
        #[case] networks: &[&str],
        #[case] starts: bool,
    ) {
        let found = expect_private("LISTEN", listen.parse().unwrap(), is_encrypted, &proxies(networks));
        assert_eq!(found.is_ok(), starts);
        if let Err(error) = found {
            let error = error.to_string();
            assert!(
                error.contains("TLS_CERT_FILE") && error.contains("TRUSTED_PROXIES"),
                "{error}"
            );
        }
    }
}
