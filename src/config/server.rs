//! Where the service listens.

use std::net::SocketAddr;

/// Where the service listens.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// Address and port to serve on; other than loopback only with a caller method set
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address and port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
