//! Where the service listens, and how connections are kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use super::proxies::ProxySettings;
use super::tls::TlsSettings;
use super::whole_number;

/// Where it listens when nothing is said.
pub(super) const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where the service listens, and how connections are kept.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// Address and port to serve on; other than loopback only with a caller method set, and TLS_CERT_FILE or TRUSTED_PROXIES
    #[arg(long, env = "LISTEN", default_value_t = DEFAULT, value_parser = address)]
    pub listen: SocketAddr,
    /// How long a connection may be silent between two requests, in seconds, 5 to 3600; longer than a load balancer keeps it (Google's: 600)
    #[arg(long, env = "KEEP_ALIVE_S", default_value = "620", value_parser = whole_number::<u64>(5..=3_600))]
    pub keep_alive_s: u64,
    /// How long after SIGTERM requests are still taken, in seconds, 0 to 300: /readyz says 503 meanwhile, so that a load balancer sends no more
    #[arg(long, env = "SHUTDOWN_DELAY_S", default_value = "5", value_parser = whole_number::<u64>(0..=300))]
    pub shutdown_delay_s: u64,
    /// How much memory the bodies of all requests may take, in MiB, 4 to 65536: a quarter those of turns, the rest those of events
    #[arg(long, env = "BODY_MEMORY_MIB", default_value = "128", value_parser = whole_number::<usize>(4..=65_536))]
    pub body_memory_mib: usize,
    /// Where the process is looked at.
    #[command(flatten)]
    pub operate: OperateSettings,
    /// Address and port where plain HTTP is sent to HTTPS (308), whatever it asks for; needs TLS_CERT_FILE; default: none
    #[arg(long, env = "HTTP_REDIRECT_LISTEN", value_parser = address, value_name = "ADDRESS")]
    pub http_redirect_listen: Option<SocketAddr>,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// The proxies before it.
    #[command(flatten)]
    pub proxies: ProxySettings,
}

/// Where the process is looked at.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OperateSettings {
    /// Address and port for /healthz, /readyz and, for admitted callers, /metrics, which is nowhere else then; other than loopback only with a caller method set, and TLS_CERT_FILE or TRUSTED_PROXIES; default: none
    #[arg(long, env = "OPERATE_LISTEN", value_parser = address)]
    pub operate_listen: Option<SocketAddr>,
}

impl ServerSettings {
    /// Where the process is looked at.
    pub fn operate_address(&self) -> SocketAddr {
        self.operate.operate_listen.unwrap_or(self.listen)
    }

    /// How long a connection may be silent between two requests.
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s)
    }

    /// How long requests are still taken when the service is to stop.
    pub fn shutdown_delay(&self) -> Duration {
        Duration::from_secs(self.shutdown_delay_s)
    }
}

/// Reads an address to listen on, for clap's `value_parser`.
///
/// # Errors
/// What was expected.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    const EXPECTED: &str = "expected an address and port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| EXPECTED)?.collect();
    // Of a name's addresses the one that most clients try.
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    Ok(first.copied().ok_or(EXPECTED)?)
}
