//! PayPal: RSA-SHA256 by a certificate that PayPal publishes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use http::HeaderMap;
use moka::future::Cache;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use subtle::Choice;
use tokio::sync::Semaphore;
use url::Url;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::request::{Refused, Request, Window, text};
use super::secret::{Secret, first_that};

/// One fetch, from connecting to the last byte: PayPal waits for the answer meanwhile.
const FETCH_LIMIT: Duration = Duration::from_secs(2);
/// A longer chain is refused, in bytes; PayPal's has five thousand.
const MAX_CHAIN_BYTES: usize = 64 * 1024;
/// Fetches at once: whoever sends us addresses should not make us call PayPal without bound.
const MAX_FETCHES: usize = 4;
/// How long a chain is kept; whether it is in force is looked at each time.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What proves a signature of PayPal's.
pub(super) struct Paypal {
    http: reqwest::Client,
    trust: Trust,
    chains: Cache<String, Chain>,
    fetches: Semaphore,
}

/// Whom a chain must come from.
pub(super) struct Trust {
    pub(super) roots: Vec<TrustAnchor<'static>>,
    /// Which addresses chains are fetched from.
    pub(super) permits: fn(&Url) -> bool,
}

/// A certificate, and those between it and the root.
type Chain = Arc<[CertificateDer<'static>]>;

impl Trust {
    /// The roots that the system trusts, and chains from PayPal's own hosts.
    pub(super) fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a trusted root of the system cannot be read");
        }
        let roots: Vec<TrustAnchor<'static>> = found
            .certs
            .iter()
            .filter_map(|root| Some(anchor_from_trusted_cert(root).ok()?.to_owned()))
            .collect();
        if roots.is_empty() {
            tracing::warn!("the system has no trusted roots: what PayPal signs cannot be checked");
        }
        Self {
            roots,
            permits: is_paypals,
        }
    }
}

impl Paypal {
    pub(super) fn new(http: reqwest::Client, trust: Trust) -> Self {
        Self {
            http,
            trust,
            chains: Cache::builder().max_capacity(16).time_to_live(KEPT).build(),
            fetches: Semaphore::new(MAX_FETCHES),
        }
    }

    /// Which of the `ids`, those that PayPal gave our webhook, the request was signed for.
    pub(super) async fn verify(
        &self,
        ids: &[Secret],
        request: &Request<'_>,
        window: &Window,
    ) -> Result<usize, Refused> {
        let transmission = Transmission::of(request.headers)?;
        let sent_at = DateTime::parse_from_rfc3339(transmission.time).map_err(|_| Refused::BadTimestamp)?;
        window.check_seconds(sent_at.timestamp())?;
        let url = Url::parse(transmission.cert_url).map_err(|_| Refused::BadSignature)?;
        if transmission.algorithm != "SHA256withRSA" || !(self.trust.permits)(&url) {
            return Err(Refused::BadSignature);
        }
        let chain = self.chain(&url).await?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(window.now.try_into().unwrap_or(0)));
        let certificate = trusted(&chain, &self.trust.roots, now).map_err(|why| {
            tracing::warn!(%url, why, "the certificate of a sender that says to be PayPal is not trusted");
            Refused::BadSignature
        })?;
        let fits = |id: &Secret| {
            let id = id.shared().map(String::from_utf8_lossy).unwrap_or_default();
            let message = transmission.signed_for(&id, request.body);
            let proven = proves(&certificate, message.as_bytes(), &transmission.signature);
            Choice::from(u8::from(proven))
        };
        first_that(ids, fits).ok_or(Refused::BadSignature)
    }

    async fn chain(&self, url: &Url) -> Result<Chain, Refused> {
        let fetched = self.chains.try_get_with(url.as_str().to_owned(), self.fetch(url)).await;
        fetched.map_err(|error| {
            tracing::warn!(%url, error = format!("{error:#}"), "PayPal's certificate cannot be fetched");
            Refused::Unavailable("the sender's certificate cannot be fetched".to_owned())
        })
    }

    async fn fetch(&self, url: &Url) -> anyhow::Result<Chain> {
        let _place = self.fetches.try_acquire().context("too many fetches at once")?;
        let mut response = self.http.get(url.clone()).timeout(FETCH_LIMIT).send().await?;
        if !response.status().is_success() {
            bail!("status {}", response.status());
        }
        let mut pem = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if pem.len() + chunk.len() > MAX_CHAIN_BYTES {
                bail!("longer than {MAX_CHAIN_BYTES} bytes");
            }
            pem.extend_from_slice(&chunk);
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .context("not PEM")?;
        if chain.is_empty() {
            bail!("no certificate in it");
        }
        Ok(chain.into())
    }
}

/// What the headers say of one attempt to deliver.
pub(super) struct Transmission<'a> {
    pub(super) id: &'a str,
    pub(super) time: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) cert_url: &'a str,
    pub(super) algorithm: &'a str,
}

impl<'a> Transmission<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refused> {
        let header = |name: &str| text(headers, name).ok_or_else(|| Refused::Missing(name.to_owned()));
        Ok(Self {
            id: header("paypal-transmission-id")?,
            time: header("paypal-transmission-time")?,
            signature: STANDARD
                .decode(header("paypal-transmission-sig")?)
                .map_err(|_| Refused::BadSignature)?,
            cert_url: header("paypal-cert-url")?,
            algorithm: header("paypal-auth-algo")?,
        })
    }

    /// The text that is signed for the webhook with this id.
    pub(super) fn signed_for(&self, webhook_id: &str, body: &[u8]) -> String {
        format!("{}|{}|{webhook_id}|{}", self.id, self.time, crc32fast::hash(body))
    }
}

/// Whether the certificate's key has made the signature.
pub(super) fn proves(certificate: &EndEntityCert<'_>, message: &[u8], signature: &[u8]) -> bool {
    certificate
        .verify_signature(webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
}

/// The chain's first certificate, when it leads to a root, is in force, and is for signing webhooks.
fn trusted<'a>(
    chain: &'a [CertificateDer<'static>],
    roots: &[TrustAnchor<'static>],
    now: UnixTime,
) -> Result<EndEntityCert<'a>, String> {
    let (first, between) = chain.split_first().ok_or("no certificate")?;
    let certificate = EndEntityCert::try_from(first).map_err(|error| error.to_string())?;
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            roots,
            between,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| error.to_string())?;
    let for_webhooks = |name: &str| name.starts_with("messageverificationcerts.") && name.ends_with(".paypal.com");
    if !certificate.valid_dns_names().any(for_webhooks) {
        return Err("it is for another purpose".to_owned());
    }
    Ok(certificate)
}

pub(super) fn is_paypals(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "https"
        && host.ends_with(".paypal.com")
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}
