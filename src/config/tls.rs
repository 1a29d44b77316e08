//! TLS: the service's certificate, and those of clients.

use std::path::PathBuf;

/// TLS: the service's certificate, and those of clients.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// File with the service's certificate in PEM, and those that lead from it to its root, re-read when it changes: with it HTTPS is spoken, TLS 1.2 and 1.3; default: none, plain HTTP
    #[arg(long, env = "TLS_CERT_FILE", value_name = "PATH")]
    pub tls_cert_file: Option<PathBuf>,
    /// File with the key of TLS_CERT_FILE in PEM, unencrypted, re-read when it changes; default: none
    #[arg(long, env = "TLS_KEY_FILE", value_name = "PATH")]
    pub tls_key_file: Option<PathBuf>,
    /// File with the roots of clients' certificates in PEM, re-read when it changes: callers that show one with a name of TLS_CLIENT_NAMES are admitted; default: none
    #[arg(long, env = "TLS_CLIENT_CA_FILE", value_name = "PATH")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Names of clients that are admitted by their certificate, comma separated: DNS names and URIs as the certificate has them, or the subject's common name as CN=Google LLC; default: none
    #[arg(long, env = "TLS_CLIENT_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_client_names: Vec<String>,
}
