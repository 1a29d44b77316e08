//! TLS in the process, through real sockets, with certificates that the tests make.

mod certificate;
mod client;
mod http2;
mod plain;
mod stranger;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Data, Fail, Reply};
use reqwest::{Client, ClientBuilder, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Gate, es, numbered};

/// Who issues certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// For a service on this machine.
    fn server(&self) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        self.issue(&params)
    }

    /// For a client of this DNS name and this common name.
    fn client(&self, dns_name: &str, common_name: &str) -> Pair {
        self.issue(&client_params(dns_name, common_name))
    }
}

fn client_params(dns_name: &str, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([dns_name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    params
}

/// The files of a service, and who has issued its certificate.
struct Files {
    dir: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            authority: Authority::new("Servers"),
        };
        files.write(&files.authority.server());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, pair: &Pair) {
        fs::write(self.path("certificate"), &pair.certificate).unwrap();
        fs::write(self.path("key"), &pair.key).unwrap();
    }

    fn write_roots(&self, roots: &[&Authority]) {
        let all: String = roots.iter().map(|root| root.pem.as_str()).collect();
        fs::write(self.path("roots"), all).unwrap();
    }

    fn set(&self, settings: &mut TestSettings) {
        settings.server.tls.tls_cert_file = Some(self.path("certificate"));
        settings.server.tls.tls_key_file = Some(self.path("key"));
    }

    /// A service whose turns say how many there were.
    async fn bot(&self) -> TestBot {
        TestBot::start_with(quiet_bot(), |settings| self.set(settings)).await
    }

    fn builder(&self) -> ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.authority.pem.as_bytes()).unwrap();
        Client::builder().retry(reqwest::retry::never()).tls_certs_only([root])
    }

    fn http(&self) -> Client {
        self.builder().build().unwrap()
    }

    fn http_as(&self, pair: &Pair) -> Client {
        let identity = Identity::from_pem(format!("{}{}", pair.key, pair.certificate).as_bytes()).unwrap();
        self.builder().identity(identity).build().unwrap()
    }

    /// A connection of one's own that has agreed on this protocol.
    async fn connect(&self, bot: &TestBot, protocol: &str) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(place(bot)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    }
}

fn place(bot: &TestBot) -> String {
    bot.url("").trim_start_matches("https://").to_owned()
}

async fn count(gate: Data<Gate>) -> Result<Reply, Fail> {
    numbered(gate).await
}

/// A bot whose one intent answers at once.
fn quiet_bot() -> Bot {
    Bot::new().data(Gate::opened()).intent("Count", count)
}

/// A turn that was not asked before.
fn turn() -> Value {
    es(&uuid::Uuid::new_v4().to_string(), "Count", json!({}))
}

/// Posts a turn: the status, or why there is no answer.
async fn post(http: &Client, bot: &TestBot) -> Result<u16, reqwest::Error> {
    let answer = http.post(bot.url("/fulfillment")).json(&turn()).send().await?;
    let status = answer.status().as_u16();
    answer.bytes().await?;
    Ok(status)
}
