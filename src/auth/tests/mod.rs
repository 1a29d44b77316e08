//! Claims about who is let in, made through the door only.

mod google;
mod introspection;
mod jwks;
mod jwt;
mod oauth;
mod opaque;
mod rotation;
mod settings;
mod signature;

use std::sync::LazyLock;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Auth, AuthConfigError, Caller, Exposure, Refused};
use crate::clock::Clock;
use crate::config::auth::AuthSettings;

/// The second at which the tests' clock stands.
const NOW: i64 = 1_750_000_000;

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-1"));
static OTHER_RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-2"));
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::ec("ec-1"));

fn clock() -> Clock {
    Clock::held(DateTime::<Utc>::from_timestamp(NOW, 0).unwrap())
}

fn try_auth(clock: &Clock, set: impl FnOnce(&mut AuthSettings)) -> Result<Auth, AuthConfigError> {
    let mut settings = AuthSettings::default();
    set(&mut settings);
    let http = crate::upstream::key_client().unwrap();
    Auth::new(&settings, Exposure::Loopback, clock.clone(), http)
}

fn auth(set: impl FnOnce(&mut AuthSettings)) -> Auth {
    try_auth(&clock(), set).unwrap()
}

fn secret(text: &str) -> Option<SecretString> {
    Some(text.into())
}

fn headers<const N: usize>(pairs: [(&'static str, &str); N]) -> HeaderMap {
    let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    pairs.into_iter().map(pair).collect()
}

async fn call(auth: &Auth, authorization: &str) -> Result<Caller, Refused> {
    auth.admit(&headers([(AUTHORIZATION.as_str(), authorization)]), b"{}")
        .await
}

async fn bearer(auth: &Auth, token: &str) -> Result<Caller, Refused> {
    call(auth, &format!("Bearer {token}")).await
}

async fn basic(auth: &Auth, pair: &str) -> Result<Caller, Refused> {
    call(auth, &format!("Basic {}", STANDARD.encode(pair))).await
}

/// An issuer's key, both halves.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    private_pem: String,
    public_pem: String,
}

impl Signer {
    fn rsa(kid: &'static str) -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let private_pem = pem("PRIVATE KEY", private.as_ref());
        let private = EncodingKey::from_rsa_pem(private_pem.as_bytes()).unwrap();
        Self {
            kid,
            algorithm: Algorithm::RS256,
            private,
            private_pem,
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let private_pem = pem("PRIVATE KEY", private.as_ref());
        let private = EncodingKey::from_ec_pem(private_pem.as_bytes()).unwrap();
        Self {
            kid,
            algorithm: Algorithm::ES256,
            private,
            private_pem,
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    fn token(&self, claims: &Value) -> String {
        self.token_as(Some(self.kid), claims)
    }

    fn token_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn hs256(secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}

/// Claims that expire in an hour, with `more` put in (`null` takes a claim out).
fn claims(more: Value) -> Value {
    let mut claims =
        json!({"iss": "https://issuer.example", "sub": "bot", "aud": "turns", "iat": NOW, "exp": NOW + 3600});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn key_set(signers: &[&Signer]) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}))
}

/// A server that gives `first` once and `then` from the second request on.
async fn server(first: ResponseTemplate, then: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(first)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(then)
        .with_priority(9)
        .mount(&server)
        .await;
    server
}

async fn fetches(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}
