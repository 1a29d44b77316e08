//! TLS: the certificate that the service shows, and whose certificates it takes. The files are read again when they change.

mod client;
pub(crate) mod pinned;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

pub(crate) use self::client::ClientCertificate;
use crate::auth::secrets::{Settled, text_of, watch};
use crate::clock::Clock;
use crate::config::TlsSettings;
use crate::telemetry::Metrics;

/// What HTTP/2 is called where it is agreed on (RFC 9113, 3.1).
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// A certificate that is valid for less than this is warned of, each day.
const SOON: TimeDelta = TimeDelta::days(21);
const DAY: TimeDelta = TimeDelta::days(1);

/// What connections are encrypted with.
pub(crate) struct Tls {
    files: Files,
    /// Names of the clients that are admitted.
    names: Vec<client::Name>,
    clock: Clock,
    metrics: Metrics,
    settled: Mutex<Settled<Texts>>,
    warned: Mutex<Option<DateTime<Utc>>>,
    current: ArcSwap<InForce>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    roots: Option<PathBuf>,
}

/// What stands in the files; of one that cannot be read, why.
#[derive(PartialEq)]
struct Texts {
    certificate: Result<String, String>,
    key: Result<String, String>,
    roots: Option<Result<String, String>>,
}

/// What was made of the files that were usable last.
struct InForce {
    config: Arc<ServerConfig>,
    /// What vouches for clients.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// When the service's certificate ends.
    expiry: DateTime<Utc>,
}

/// A connection whose two sides have agreed.
pub(crate) struct Agreed<T> {
    pub(crate) stream: TlsStream<T>,
    pub(crate) is_http2: bool,
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

impl Tls {
    /// Reads the files and, inside a tokio runtime, starts to watch them for as long as the value is held; `None` where
    /// there are to be none.
    ///
    /// # Errors
    /// When a setting is missing beside another, or a file cannot be used.
    pub(crate) fn new(settings: &TlsSettings, clock: Clock, metrics: Metrics) -> anyhow::Result<Option<Arc<Self>>> {
        let names = settings.tls_client_names.iter();
        let names: Vec<client::Name> = names.filter_map(|name| client::Name::listed(name)).collect();
        let beside = |missing, set, what| anyhow!("{missing}: not set, expected {what} beside {set}");
        let (certificate, key) = match (&settings.tls_cert_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (None, Some(_)) => return Err(beside("TLS_CERT_FILE", "TLS_KEY_FILE", "the file of the certificate")),
            (Some(_), None) => return Err(beside("TLS_KEY_FILE", "TLS_CERT_FILE", "the file of its key")),
            (None, None) if settings.tls_client_ca_file.is_some() || !names.is_empty() => {
                return Err(beside(
                    "TLS_CERT_FILE",
                    "TLS_CLIENT_CA_FILE and TLS_CLIENT_NAMES",
                    "the file of the service's own certificate",
                ));
            }
            (None, None) => return Ok(None),
        };
        match (&settings.tls_client_ca_file, names.is_empty()) {
            (Some(_), true) => bail!(
                "TLS_CLIENT_NAMES: not set, expected names of clients beside TLS_CLIENT_CA_FILE: a root alone vouches for \
                 whomever it has given a certificate"
            ),
            (None, false) => {
                let what = "the file of the roots that vouch for clients";
                return Err(beside("TLS_CLIENT_CA_FILE", "TLS_CLIENT_NAMES", what));
            }
            (Some(_), false) | (None, true) => {}
        }
        let files = Files {
            certificate,
            key,
            roots: settings.tls_client_ca_file.clone(),
        };
        let texts = files.texts();
        let in_force = files.read(&texts, &clock)?;
        let tls = Arc::new(Self {
            files,
            names,
            clock,
            metrics,
            settled: Mutex::new(Settled::on(texts)),
            warned: Mutex::default(),
            current: ArcSwap::from_pointee(in_force),
        });
        tls.look_at_expiry();
        if let Ok(runtime) = Handle::try_current() {
            watch(&runtime, &tls, Self::poll);
        }
        Ok(Some(tls))
    }

    /// Whether clients may be admitted by their certificates.
    pub(crate) fn takes_clients(&self) -> bool {
        !self.names.is_empty()
    }

    /// Agrees with a client on keys and protocol; whatever files change later, for this connection they have not.
    ///
    /// # Errors
    /// When they do not agree, or the client shows a certificate that nothing vouches for.
    pub(crate) async fn accept<T>(self: &Arc<Self>, stream: T) -> io::Result<Agreed<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let in_force = self.current.load_full();
        let stream = TlsAcceptor::from(Arc::clone(&in_force.config)).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = match (session.peer_certificates(), &in_force.clients) {
            (Some(chain), Some(by)) => ClientCertificate::read(chain, Arc::clone(by), Arc::clone(self)).map(Arc::new),
            (None, _) | (Some(_), None) => None,
        };
        let is_http2 = session.alpn_protocol() == Some(HTTP_2);
        Ok(Agreed {
            stream,
            is_http2,
            certificate,
        })
    }

    /// Looks at the files, and takes a change over once two readings agree; unusable ones leave the old ones in force.
    fn poll(&self) {
        let texts = self.files.texts();
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled.takes(texts, false) {
            match self.files.read(settled.applied(), &self.clock) {
                Ok(in_force) => {
                    info!(until = %in_force.expiry, "files of TLS have changed and are in force");
                    self.current.store(Arc::new(in_force));
                    *self.warned.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Err(error) => warn!(
                    error = format!("{error:#}"),
                    "files of TLS are unusable, keeping the old ones"
                ),
            }
        }
        self.look_at_expiry();
    }

    fn look_at_expiry(&self) {
        let (expiry, now) = (self.current.load().expiry, self.clock.now());
        self.metrics.certificate_expires("server", expiry);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if expiry - now < SOON && warned.is_none_or(|at| now - at >= DAY) {
            *warned = Some(now);
            let path = self.files.certificate.display();
            match expiry > now {
                true => {
                    warn!(%path, %expiry, "TLS_CERT_FILE: the certificate expires in {} days", (expiry - now).num_days())
                }
                false => warn!(%path, %expiry, "TLS_CERT_FILE: the certificate has expired"),
            }
        }
    }
}

impl Files {
    fn texts(&self) -> Texts {
        Texts {
            certificate: text_of(&self.certificate),
            key: text_of(&self.key),
            roots: self.roots.as_deref().map(text_of),
        }
    }

    fn read(&self, texts: &Texts, clock: &Clock) -> anyhow::Result<InForce> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates("TLS_CERT_FILE", &self.certificate, &texts.certificate)?;
        let wrong_chain = || {
            wrong(
                "TLS_CERT_FILE",
                &self.certificate,
                "holds no certificate that can be read",
            )
        };
        let first = chain.first().with_context(wrong_chain)?;
        let (_, first) = x509_parser::parse_x509_certificate(first).map_err(|_| anyhow!(wrong_chain()))?;
        let expiry =
            DateTime::from_timestamp(first.validity().not_after.timestamp(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let wrong_key = |text: &str| anyhow!(wrong("TLS_KEY_FILE", &self.key, text));
        let key = texts.key.as_ref().map_err(|error| wrong_key(error))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| wrong_key("holds no unencrypted private key in PEM"))?;
        let clients = match (&self.roots, &texts.roots) {
            (Some(path), Some(text)) => Some(verifier(path, text, &provider)?),
            (None, _) | (Some(_), None) => None,
        };
        let builder = ServerConfig::builder_with_details(provider, Arc::new(ByClock(clock.clone())))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth));
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            if let rustls::Error::InconsistentKeys(_) = error {
                let certificate = self.certificate.display();
                return wrong_key(&format!("is not the key of the first certificate in {certificate}"));
            }
            wrong_key(&error.to_string())
        })?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(InForce {
            config: Arc::new(config),
            clients,
            expiry,
        })
    }
}

/// What vouches for clients by these roots; they may come without a certificate, too.
fn verifier(
    path: &Path,
    text: &Result<String, String>,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for root in certificates("TLS_CLIENT_CA_FILE", path, text)? {
        let added = roots.add(root);
        added.with_context(|| wrong("TLS_CLIENT_CA_FILE", path, "holds what is no root"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        // The roots are nobody's business, and a client has one certificate.
        .clear_root_hint_subjects()
        .allow_unauthenticated();
    Ok(verifier.build()?)
}

/// The certificates in the text of a file, at least one.
fn certificates(
    setting: &str,
    path: &Path,
    text: &Result<String, String>,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = text.as_ref().map_err(|error| anyhow!(wrong(setting, path, error)))?;
    match CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => bail!(wrong(setting, path, "holds no certificate in PEM")),
        Err(error) => bail!(wrong(setting, path, &format!("is not PEM: {error}"))),
    }
}

fn wrong(setting: &str, path: &Path, text: &str) -> String {
    format!("{setting}: {}: {text}", path.display())
}

/// Certificates end by the service's clock.
#[derive(Debug)]
struct ByClock(Clock);

impl TimeProvider for ByClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

fn unix_time(time: DateTime<Utc>) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.timestamp().try_into().unwrap_or_default()))
}
