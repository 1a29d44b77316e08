//! Where the running service is that a command speaks to.

use clap::Args;
use reqwest::Client;

use crate::tls::pinned;
use crate::{config, upstream};

/// Where the running service is.
#[derive(Args)]
#[group(skip)]
pub(super) struct ServiceUrl {
    /// The running service, by its base URL; the one that listens at LISTEN when it is not given
    #[arg(long)]
    url: Option<String>,
}

impl ServiceUrl {
    /// Its base URL: the one given, else that of `LISTEN` on this machine.
    pub(super) fn url(&self) -> String {
        self.url_or(&["LISTEN"])
    }

    /// The client to call it with: that on this machine is known by its certificate.
    ///
    /// # Errors
    /// When the certificate cannot be read, or TLS not be set up.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        match (&self.url, config::local_certificate()) {
            (None, Some(certificate)) => pinned::client(&certificate),
            (None, None) | (Some(_), _) => upstream::client(),
        }
    }

    /// The one given, else that of the first of these settings that is set.
    pub(super) fn url_or(&self, settings: &[&str]) -> String {
        self.url.clone().unwrap_or_else(|| config::local_url(settings))
    }
}
