//! A client's certificate: who vouches for it, and by which of its names the client is admitted.

use std::fmt::{self, Display};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use tracing::info;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::{Tls, unix_time};

/// What stands before the common name of a subject.
const COMMON_NAME: &str = "CN=";

/// A name of a client. One kind of name never stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// In small letters.
    Dns(String),
    Uri(String),
    /// Of the subject.
    Common(String),
}

impl Name {
    /// Reads a name as the setting has it; `None` where there is none.
    pub(super) fn listed(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        Some(match text.strip_prefix(COMMON_NAME) {
            Some(name) => Self::Common(name.to_owned()),
            None if text.contains(':') => Self::Uri(text.to_owned()),
            None => Self::Dns(text.to_ascii_lowercase()),
        })
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Common(name) => write!(f, "{COMMON_NAME}{name}"),
        }
    }
}

/// A certificate whose key the client of a connection has.
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<Name>,
    expiry: DateTime<Utc>,
    /// What has vouched for it.
    vouched_by: Arc<dyn ClientCertVerifier>,
    tls: Arc<Tls>,
}

impl ClientCertificate {
    /// The first certificate of a chain that `vouched_by` has vouched for; `None` where it cannot be read.
    pub(super) fn read(
        chain: &[CertificateDer<'_>],
        vouched_by: Arc<dyn ClientCertVerifier>,
        tls: Arc<Tls>,
    ) -> Option<Self> {
        let (_, first) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let certificate = Self {
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            names: names(&first),
            expiry: DateTime::from_timestamp(first.validity().not_after.timestamp(), 0)?,
            vouched_by,
            tls,
        };
        if certificate.listed().is_none() {
            info!(names = ?certificate.names, "a client's certificate has no name of TLS_CLIENT_NAMES");
        }
        Some(certificate)
    }

    /// The name by which the client is admitted now; `None` where no name of it is listed, or it has expired, or nothing
    /// vouches for it any more.
    pub(crate) fn admitted_as(&self) -> Option<String> {
        let now = self.tls.clock.now();
        let name = self.listed()?;
        (now < self.expiry && self.is_vouched_for(now)).then(|| name.to_string())
    }

    fn listed(&self) -> Option<&Name> {
        self.names.iter().find(|name| self.tls.names.contains(name))
    }

    /// Whether the roots that are in force vouch for it: others may have done so when it was connected.
    fn is_vouched_for(&self, now: DateTime<Utc>) -> bool {
        let in_force = self.tls.current.load();
        let Some(by) = &in_force.clients else { return false };
        if Arc::ptr_eq(by, &self.vouched_by) {
            return true;
        }
        let Some((first, rest)) = self.chain.split_first() else {
            return false;
        };
        by.verify_client_cert(first, rest, unix_time(now)).is_ok()
    }
}

/// The DNS names and URIs that a certificate is for, and the common name of its subject.
fn names(certificate: &X509Certificate<'_>) -> Vec<Name> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names = Vec::new();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            names.push(Name::Dns(name.to_ascii_lowercase()));
        } else if let GeneralName::URI(uri) = name {
            names.push(Name::Uri((*uri).to_owned()));
        }
    }
    let common = certificate.subject().iter_common_name();
    names.extend(common.filter_map(|name| Some(Name::Common(name.as_str().ok()?.to_owned()))));
    names
}
