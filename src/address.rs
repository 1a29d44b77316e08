//! Which addresses may be called: public ones, so that nobody makes the service reach what only it can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Why a URL is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadUrl {
    #[error("found a URL of scheme {0:?}, expected http or https")]
    Scheme(String),
    #[error("found no host in the URL")]
    Host,
    #[error("{0} is no public address")]
    Private(IpAddr),
}

/// What is wrong with a URL, as far as it can be seen before it is called.
pub(crate) fn problem(url: &Url, allow_private: bool) -> Option<String> {
    check(url, allow_private).err().map(|error| error.to_string())
}

/// Checks what can be seen of the URL itself; a name's addresses are checked by [`PublicOnly`], when it is connected to.
pub(super) fn check(url: &Url, allow_private: bool) -> Result<(), BadUrl> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadUrl::Scheme(url.scheme().to_owned()));
    }
    let address = match url.host() {
        None => return Err(BadUrl::Host),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
    };
    if allow_private || is_public(address) {
        Ok(())
    } else {
        Err(BadUrl::Private(address))
    }
}

/// Resolves names to public addresses only: what is resolved here is what is connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(|address| is_public(address.ip()))
                .collect();
            match found.first() {
                Some(private) if public.is_empty() => Err(BadUrl::Private(private.ip()).into()),
                _ => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether the address can be reached by anybody on the internet, by IANA's registries of special addresses.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match (address.to_ipv4_mapped(), translated(address)) {
            (Some(mapped), _) => is_public_v4(mapped),
            (None, Some(inner)) => is_public_v4(inner),
            (None, None) => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    )
}

/// The IPv4 address that a translator (RFC 6052) would connect to.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast, without documentation, 6to4 and what is kept for protocols (Teredo among it).
    (0x2000..0x4000).contains(&first)
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1/", false)]
    #[case("http://127.1/", false)]
    #[case("http://2130706433/", false)]
    #[case("http://0x7f000001/", false)]
    #[case("http://0177.0.0.1/", false)]
    #[case("http://0.0.0.0/", false)]
    #[case("http://10.1.2.3/", false)]
    #[case("http://100.64.0.1/", false)]
    #[case("http://100.127.255.254/", false)]
    #[case("http://100.128.0.1/", true)]
    #[case("http://169.254.169.254/latest/meta-data", false)]
    #[case("http://172.16.0.1/", false)]
    #[case("http://172.32.0.1/", true)]
    #[case("http://192.168.1.1/", false)]
    #[case("http://198.18.0.1/", false)]
    #[case("http://224.0.0.1/", false)]
    #[case("http://255.255.255.255/", false)]
    #[case("http://8.8.8.8/", true)]
    #[case("http://[::1]/", false)]
    #[case("http://[::]/", false)]
    #[case("http://[::ffff:127.0.0.1]/", false)]
    #[case("http://[::ffff:169.254.169.254]/", false)]
    #[case("http://[::ffff:8.8.8.8]/", true)]
    #[case("http://[::127.0.0.1]/", false)]
    #[case("http://[64:ff9b::10.0.0.1]/", false)]
    #[case("http://[64:ff9b::8.8.8.8]/", true)]
    #[case("http://[2002:7f00:1::]/", false)]
    #[case("http://[2001:0:1::1]/", false)]
    #[case("http://[2001:db8::1]/", false)]
    #[case("http://[fc00::1]/", false)]
    #[case("http://[fd12:3456::1]/", false)]
    #[case("http://[fe80::1]/", false)]
    #[case("http://[fd00:ec2::254]/", false)]
    #[case("http://[ff02::1]/", false)]
    #[case("http://[2606:4700:4700::1111]/", true)]
    #[case("https://hooks.example.com/a", true)]
    #[case("ftp://8.8.8.8/", false)]
    #[case("file:///etc/passwd", false)]
    fn only_public_addresses_are_called(#[case] url: &str, #[case] allowed: bool) {
        let url = Url::parse(url).unwrap();
        assert_eq!(check(&url, false).is_ok(), allowed, "{url}");
        assert_eq!(check(&url, true).is_ok(), matches!(url.scheme(), "http" | "https"));
    }

    #[tokio::test]
    async fn name_of_a_private_address_resolves_to_nothing() {
        let refused = PublicOnly.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.to_string().ends_with("is no public address"), "{refused}");
    }
}
