//! The proxies that are trusted, and the networks that they stand in.

use std::net::IpAddr;

use ipnet::IpNet;

/// The proxies that are trusted.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Proxies")]
pub struct ProxySettings {
    /// Addresses and networks of the proxies before the service, comma separated, such as 10.1.2.3,172.16.0.0/12: plain HTTP is answered to them, and what they say of the client's address counts; default: none
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network,
        value_name = "NETWORK"
    )]
    pub trusted_proxies: Vec<IpNet>,
}

impl ProxySettings {
    /// Whether `address` is that of one of them. An IPv4 address that is written as IPv6 is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.trusted_proxies.is_empty()
    }
}

/// Reads an address or a network, for clap's `value_parser`.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(|address| address.to_canonical().into()));
    network.map_err(|_| "expected an address or a network, such as 10.1.2.3 or 172.16.0.0/12".to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.1.2.3", true)]
    #[case("10.1.2.4", false)]
    #[case("::ffff:10.1.2.3", true)]
    #[case("172.31.255.255", true)]
    #[case("172.32.0.1", false)]
    #[case("::ffff:172.16.0.1", true)]
    #[case("fd00::7", true)]
    #[case("fe80::7", false)]
    #[case("127.0.0.1", false)]
    fn proxy_is_known_however_its_address_is_written(#[case] address: &str, #[case] is_known: bool) {
        let networks = ["10.1.2.3", " 172.16.0.0/12", "fd00::/8"];
        let trusted_proxies = networks.iter().map(|text| network(text).unwrap()).collect();
        let proxies = ProxySettings { trusted_proxies };
        assert_eq!(proxies.contains(address.parse().unwrap()), is_known);
    }

    #[test]
    fn network_that_is_none_is_refused() {
        for wrong in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
