//! JWT bearer tokens of the operator's own issuer.

use std::borrow::Cow;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::issuer::Issuer;
use super::jwks::Jwks;
use super::secrets::{Kind, lines};
use super::token::{Expected, Token, TokenKey};
use super::{Caller, Why};

/// AUTH_JWT_KEY and AUTH_JWT_KEY_FILE.
pub(crate) const JWT_KEY: Kind<TokenKey> = Kind {
    setting: Cow::Borrowed("AUTH_JWT_KEY"),
    file_setting: Cow::Borrowed("AUTH_JWT_KEY_FILE"),
    expected: "HS256 secrets, best of 32 bytes or more, one a line, or PEM public keys (RSA of 2048 bits or more, P-256)",
    // RFC 7518, 3.2.
    least_bytes: 32,
    lengths: |text| {
        let mut is_in_pem = false;
        let mut is_secret = |line: &str| {
            is_in_pem |= line.contains("-----BEGIN ");
            let is_secret = !is_in_pem;
            is_in_pem &= !line.contains("-----END ");
            is_secret
        };
        lines(text)
            .filter(|(_, line)| is_secret(line))
            .map(|(number, line)| (number, line.len()))
            .collect()
    },
    parse: keys,
};

/// What a token must be.
#[derive(Debug)]
pub(crate) struct JwtCheck {
    pub(crate) expected: Expected,
    pub(crate) keys: Keys,
}

/// Which keys prove a token.
#[derive(Debug)]
pub(crate) enum Keys {
    /// Those that are set.
    Set,
    /// Those at an address that is set.
    Published(Jwks),
    /// Those at the address that the issuer names.
    Issuer(Arc<Issuer>),
}

impl JwtCheck {
    /// Admits a token that is proven by a published key or one of `set_keys`.
    ///
    /// The claims are looked at first: they are cheap, and a token of another issuer should not have keys fetched.
    pub(crate) async fn check(&self, token: &Token<'_>, set_keys: &[TokenKey]) -> Result<Caller, Why> {
        let claims = &token.claims;
        self.expected.check(claims)?;
        match &self.keys {
            Keys::Set => token.verify(set_keys)?,
            Keys::Published(published) => published.verify(token).await?,
            Keys::Issuer(issuer) => issuer.keys().await?.verify(token).await?,
        }
        Ok(Caller::Jwt {
            subject: claims.sub.clone(),
            issuer: claims.iss.clone(),
        })
    }
}

fn keys(text: &str) -> Result<Vec<TokenKey>, String> {
    // An environment file cannot hold line breaks, so PEM is often written with `\n` in it.
    let text = if text.contains("-----BEGIN ") {
        text.replace("\\n", "\n")
    } else {
        text.to_owned()
    };
    let mut keys = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in lines(&text) {
        let (first, mut pem) = match open.take() {
            Some(block) => block,
            None if line.starts_with("-----BEGIN ") => (number, String::new()),
            None => {
                keys.push(shared_secret(line).map_err(|wrong| format!("line {number} {wrong}"))?);
                continue;
            }
        };
        pem.push_str(line);
        pem.push('\n');
        if line.contains("-----END ") {
            keys.push(public_key(&pem).map_err(|wrong| format!("the PEM block at line {first} {wrong}"))?);
        } else {
            open = Some((first, pem));
        }
    }
    match open {
        Some((first, _)) => Err(format!("the PEM block at line {first} has no end")),
        None => Ok(keys),
    }
}

fn shared_secret(line: &str) -> Result<TokenKey, &'static str> {
    // A public key taken for a secret would let everybody who knows the public key in.
    if line.contains("-----") || line.starts_with("MII") || line.starts_with("MFk") {
        return Err("looks like a part of a PEM key, not like an HS256 secret");
    }
    if line.starts_with(['{', '[']) {
        return Err("looks like JSON, not like an HS256 secret; a JWK goes behind AUTH_JWT_JWKS_URL");
    }
    let key = DecodingKey::from_secret(line.as_bytes());
    Ok(TokenKey::new(None, Algorithm::HS256, key))
}

fn public_key(pem: &str) -> Result<TokenKey, &'static str> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("is a private key, which only the issuer should have");
    }
    if pem.contains("CERTIFICATE-----") {
        return Err("is a certificate, not a public key");
    }
    if let Ok(key) = DecodingKey::from_rsa_pem(pem.as_bytes()) {
        return match rsa_bits(&key) {
            Some(2048..=8192) => Ok(TokenKey::new(None, Algorithm::RS256, key)),
            Some(_) => Err("is an RSA key of less than 2048 or more than 8192 bits"),
            None => Err("is a broken RSA key"),
        };
    }
    match DecodingKey::from_ec_pem(pem.as_bytes()) {
        // A point of P-256 is written as 0x04 and two coordinates of 32 bytes.
        Ok(key) if key.try_get_as_bytes().is_ok_and(|point| point.len() == 65) => {
            Ok(TokenKey::new(None, Algorithm::ES256, key))
        }
        Ok(_) => Err("is an EC key of another curve than P-256"),
        Err(_) => Err("is neither an RSA nor a P-256 public key"),
    }
}

fn rsa_bits(key: &DecodingKey) -> Option<usize> {
    use base64::Engine;
    let jwk = Jwk::from_decoding_key(key, Some(Algorithm::RS256)).ok()?;
    let AlgorithmParameters::RSA(parameters) = jwk.algorithm else {
        return None;
    };
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(parameters.n)
        .ok()?;
    let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
    Some(significant * 8)
}
