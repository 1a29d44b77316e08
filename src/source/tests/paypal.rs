//! PayPal's signatures, by an authority of our own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::paypal::{Paypal, Trust, is_paypals};
use super::super::request::{Refused, Request, Window};
use super::super::secret::Secret;
use super::*;

pub(super) const NAME: &str = "messageverificationcerts.paypal.com";
const BODY: &[u8] = br#"{"id": "WH-1"}"#;
const TIME: &str = "2025-06-15T15:06:40Z";

/// A certificate for `name`, in force in 2025, of an authority, with its key; and the authority.
pub(super) struct Signer {
    pub(super) root: TrustAnchor<'static>,
    pub(super) pem: String,
    key: RsaKeyPair,
}

pub(super) fn signer(name: &str) -> Signer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2025, 12, 31);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let der = CertificateDer::from(authority.der().to_vec());
    Signer {
        root: webpki::anchor_from_trusted_cert(&der).unwrap().to_owned(),
        pem: certificate.pem(),
        key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(),
    }
}

impl Signer {
    pub(super) fn headers(&self, cert_url: &str, webhook_id: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let message = format!("tx-1|{TIME}|{webhook_id}|{}", crc32fast::hash(body));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        vec![
            ("paypal-transmission-id", "tx-1".to_owned()),
            ("paypal-transmission-time", TIME.to_owned()),
            ("paypal-transmission-sig", STANDARD.encode(signature)),
            ("paypal-cert-url", cert_url.to_owned()),
            ("paypal-auth-algo", "SHA256withRSA".to_owned()),
        ]
    }
}

pub(super) async fn serving(pem: &str) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_string(pem);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

pub(super) fn paypal(root: &TrustAnchor<'static>) -> Paypal {
    let trust = Trust {
        roots: vec![root.clone()],
        permits: |url| url.host_str() == Some("127.0.0.1"),
    };
    Paypal::new(surroundings(clock_at(NOW), &[]).http, trust)
}

pub(super) async fn check(
    paypal: &Paypal,
    pairs: &[(&'static str, String)],
    body: &[u8],
    now: i64,
) -> Result<usize, Refused> {
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let headers = headers(&pairs);
    let request = Request {
        method: "POST",
        query: "",
        headers: &headers,
        body,
    };
    let ids = ["NEW-ID", "OLD-ID"].map(|id| Secret::Shared(id.as_bytes().into()));
    let window = Window { now, tolerance: 300 };
    paypal.verify(&ids, &request, &window).await
}

#[actix_web::test]
async fn request_signed_by_a_trusted_certificate_is_let_in_and_the_certificate_kept() {
    let signer = signer(NAME);
    let server = serving(&signer.pem).await;
    let paypal = paypal(&signer.root);
    let url = format!("{}/certs/1", server.uri());
    for (id, expected) in [
        ("NEW-ID", Ok(0)),
        ("OLD-ID", Ok(1)),
        ("OTHER", Err(Refused::BadSignature)),
    ] {
        let headers = signer.headers(&url, id, BODY);
        assert_eq!(check(&paypal, &headers, BODY, NOW).await, expected, "{id}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1);

    let good = signer.headers(&url, "NEW-ID", BODY);
    assert_eq!(check(&paypal, &good, b"{}", NOW).await, Err(Refused::BadSignature));
    assert_eq!(
        check(&paypal, &good, BODY, NOW + 301).await,
        Err(Refused::OldTimestamp { off_by_s: 301 })
    );
    for at in 0..good.len() {
        let mut changed = good.clone();
        let other = if changed[at].1.starts_with('A') { "B" } else { "A" };
        changed[at].1.replace_range(0..1, other);
        assert!(check(&paypal, &changed, BODY, NOW).await.is_err(), "{:?}", changed[at]);
        let gone = changed.remove(at).0;
        assert_eq!(
            check(&paypal, &changed, BODY, NOW).await,
            Err(Refused::Missing(gone.to_owned()))
        );
    }
}

#[actix_web::test]
async fn certificate_must_be_trusted_in_force_and_for_webhooks() {
    let good = signer(NAME);
    let server = serving(&good.pem).await;
    let headers = good.headers(&server.uri(), "NEW-ID", BODY);
    let other_root = signer(NAME).root;
    assert_eq!(
        check(&paypal(&other_root), &headers, BODY, NOW).await,
        Err(Refused::BadSignature)
    );

    let late = DateTime::parse_from_rfc3339("2026-01-02T00:00:00Z").unwrap();
    let expired = {
        let mut headers = headers.clone();
        let message = format!("tx-1|{}|NEW-ID|{}", late.to_rfc3339(), crc32fast::hash(BODY));
        let mut signature = vec![0; good.key.public_modulus_len()];
        good.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        headers[1].1 = late.to_rfc3339();
        headers[2].1 = STANDARD.encode(signature);
        headers
    };
    let found = check(&paypal(&good.root), &expired, BODY, late.timestamp()).await;
    assert_eq!(found, Err(Refused::BadSignature));

    let elsewhere = signer("www.paypal.com");
    let server = serving(&elsewhere.pem).await;
    let headers = elsewhere.headers(&server.uri(), "NEW-ID", BODY);
    assert_eq!(
        check(&paypal(&elsewhere.root), &headers, BODY, NOW).await,
        Err(Refused::BadSignature)
    );
}

#[actix_web::test]
async fn certificate_that_cannot_be_fetched_is_no_reason_to_say_that_the_signature_is_wrong() {
    let signer = signer(NAME);
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("x".repeat(70_000)),
        ResponseTemplate::new(200).set_body_string("no PEM"),
        ResponseTemplate::new(302).insert_header("location", "http://localhost/certs"),
    ] {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let headers = signer.headers(&server.uri(), "NEW-ID", BODY);
        let found = check(&paypal(&signer.root), &headers, BODY, NOW).await;
        assert!(matches!(found, Err(Refused::Unavailable(_))), "{found:?}");
    }
}

#[actix_web::test]
async fn certificate_is_not_looked_for_where_its_address_points_to() {
    let signer = signer(NAME);
    let (elsewhere, server) = (serving(&signer.pem).await, MockServer::start().await);
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    Mock::given(any()).respond_with(redirect).mount(&server).await;
    let headers = signer.headers(&server.uri(), "NEW-ID", BODY);
    let found = check(&paypal(&signer.root), &headers, BODY, NOW).await;
    assert!(matches!(found, Err(Refused::Unavailable(_))), "{found:?}");
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[test]
fn only_paypals_own_addresses_are_called() {
    for (url, permitted) in [
        ("https://api.paypal.com/v1/notifications/certs/CERT-1", true),
        ("https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1", true),
        ("http://api.paypal.com/certs", false),
        ("https://api.paypal.com:8443/certs", false),
        ("https://paypal.com.evil.example/certs", false),
        ("https://evilpaypal.com/certs", false),
        ("https://user@api.paypal.com/certs", false),
        ("https://evil.example/#.paypal.com", false),
        ("https://evil.example\\@api.paypal.com/certs", false),
        ("https://127.0.0.1/.paypal.com", false),
    ] {
        assert_eq!(Url::parse(url).is_ok_and(|url| is_paypals(&url)), permitted, "{url}");
    }
}
