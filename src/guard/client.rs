//! Where a request comes from: its peer, or whom the proxies before the service speak for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName};

use crate::config::ProxySettings;

/// What most proxies say it in.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// An IPv6 client has a network of this length to itself, in bits.
const CLIENT_PREFIX: u32 = 64;

/// Who is counted as one client: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(IpAddr);

impl Client {
    /// Who an address belongs to.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> CLIENT_PREFIX << CLIENT_PREFIX;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }
}

/// A proxy that is believed says what cannot be read, or two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadForwarding;

/// The address of a request's client. What it says itself does not count: what proxies have said is read from the end, and
/// no further than the first address that is none of theirs.
///
/// # Errors
/// When a proxy speaks for something that is no address, or `Forwarded` and `X-Forwarded-For` tell of different clients: a
/// proxy sets one of them, and the other may be the client's own.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, proxies: &ProxySettings) -> Result<IpAddr, BadForwarding> {
    let peer = peer.ip().to_canonical();
    if !proxies.contains(peer) {
        return Ok(peer);
    }
    let listed = last_but_proxies(peer, listed(headers), proxies)?;
    let forwarded = last_but_proxies(peer, forwarded(headers), proxies)?;
    match (listed, forwarded) {
        (None, None) => Ok(peer),
        (Some(client), None) | (None, Some(client)) => Ok(client),
        (Some(one), Some(other)) if one == other => Ok(one),
        (Some(_), Some(_)) => Err(BadForwarding),
    }
}

/// The last address that is no proxy's, or else the first; none where nothing is said.
fn last_but_proxies(
    peer: IpAddr,
    said: Option<Vec<Option<IpAddr>>>,
    proxies: &ProxySettings,
) -> Result<Option<IpAddr>, BadForwarding> {
    let Some(said) = said else { return Ok(None) };
    let mut client = peer;
    for address in said.into_iter().rev() {
        client = address.ok_or(BadForwarding)?;
        if !proxies.contains(client) {
            break;
        }
    }
    Ok(Some(client))
}

/// The addresses of `X-Forwarded-For`, in order.
fn listed(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    let elements = elements(headers, HeaderName::from_static(X_FORWARDED_FOR))?;
    Some(elements.iter().map(|element| address(element)).collect())
}

/// The addresses of `Forwarded` (RFC 7239), in order.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    let elements = elements(headers, FORWARDED)?;
    let by_whom = |element: &String| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        address(node)
    };
    Some(elements.iter().map(by_whom).collect())
}

/// The elements of a list that may stand in several headers.
fn elements(headers: &HeaderMap, name: HeaderName) -> Option<Vec<String>> {
    let mut all = headers.get_all(name).peekable();
    all.peek()?;
    let lines = all.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    let lines: Vec<String> = lines.collect();
    Some(
        lines
            .iter()
            .flat_map(|line| line.split(','))
            .map(|element| element.trim().to_owned())
            .collect(),
    )
}

/// An address with or without a port, quoted or not: `192.0.2.43:80`, `"[2001:db8::17]:4711"`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = text.parse::<SocketAddr>().map(|address| address.ip());
    address
        .or_else(|_| bare.parse())
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn said(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn proxies() -> ProxySettings {
        ProxySettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        }
    }

    const PEER: &str = "10.0.0.1:4000";

    #[rstest]
    #[case::nothing_is_said(&[], "10.0.0.1")]
    #[case::one_proxy(&[("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::client_has_said_something_before(&[("x-forwarded-for", "6.6.6.6, 203.0.113.7")], "203.0.113.7")]
    #[case::client_has_claimed_to_be_a_proxy(&[("x-forwarded-for", "6.6.6.6, 10.9.9.9, 203.0.113.7")], "203.0.113.7")]
    #[case::two_proxies(&[("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.2")], "203.0.113.7")]
    #[case::several_lines(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::nonsense_of_the_client(&[("x-forwarded-for", "what, 203.0.113.7")], "203.0.113.7")]
    #[case::port(&[("x-forwarded-for", "203.0.113.7:1234")], "203.0.113.7")]
    #[case::mapped(&[("x-forwarded-for", "::ffff:203.0.113.7")], "203.0.113.7")]
    #[case::all_are_proxies(&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3")]
    #[case::standard(&[("forwarded", "for=203.0.113.7;proto=https;by=10.0.0.1")], "203.0.113.7")]
    #[case::standard_of_two(&[("forwarded", "for=6.6.6.6, For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17")]
    #[case::both_say_the_same(&[("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    fn client_is_whom_the_proxies_speak_for(#[case] headers: &[(&str, &str)], #[case] expected: &str) {
        let proxies = proxies();
        let found = client(PEER.parse().unwrap(), &said(headers), &proxies);
        assert_eq!(found, Ok(expected.parse().unwrap()));
    }

    #[rstest]
    #[case::two_things(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.7")])]
    #[case::nothing(&[("x-forwarded-for", "")])]
    #[case::unknown(&[("forwarded", "for=unknown")])]
    #[case::hidden(&[("forwarded", "for=_hidden")])]
    #[case::nobody(&[("forwarded", "proto=https")])]
    #[case::no_address(&[("x-forwarded-for", "203.0.113.7, localhost")])]
    fn what_a_proxy_must_not_say_is_refused(#[case] headers: &[(&str, &str)]) {
        let proxies = proxies();
        assert_eq!(
            client(PEER.parse().unwrap(), &said(headers), &proxies),
            Err(BadForwarding)
        );
    }

    #[rstest]
    #[case("203.0.113.9:1", "203.0.113.9")]
    #[case("[::ffff:203.0.113.9]:1", "203.0.113.9")]
    #[case("[2001:db8::1]:1", "2001:db8::1")]
    fn what_others_say_of_themselves_does_not_count(#[case] peer: &str, #[case] expected: &str) {
        let headers = said(&[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=10.0.0.1")]);
        let found = client(peer.parse().unwrap(), &headers, &proxies());
        assert_eq!(found, Ok(expected.parse().unwrap()));
    }

    #[test]
    fn network_of_64_bits_is_one_client() {
        let client = |address: &str| Client::of(address.parse().unwrap());
        assert_eq!(client("2001:db8:1:2:aaaa::1"), client("2001:db8:1:2:bbbb::2"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }
}
