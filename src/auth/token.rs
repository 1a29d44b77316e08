//! A JSON Web Token, read but not yet believed.

use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, crypto};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Why;
use crate::clock::Clock;

/// A longer token is refused unread, in bytes; what issuers send has one to four thousand.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What a token may say that it is; others are for something else than calls, such as a logout (RFC 8725, 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
/// A longer key id is refused, in bytes; it would be remembered as an unknown one.
const MAX_KID_BYTES: usize = 256;

/// How long a key remembers a token that it has proven.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Tokens that a key remembers at most.
const MAX_REMEMBERED: u64 = 4_096;

/// How far an issuer's clock may differ from ours, in seconds.
const SKEW_SECONDS: i64 = 30;
/// A token that is valid for longer than this, ten years, has in effect no end.
const MAX_LIFETIME_DAYS: i64 = 3_650;

/// A public key or shared secret with the one algorithm that it is for.
///
/// A token chooses its algorithm, and only keys of that algorithm are tried: no token can have a public key taken for
/// an HS256 secret.
///
/// It remembers for a minute what it has proven, so that no signature of a token in use is computed again and again. A
/// key that is withdrawn takes that with it, and what a token claims is looked at each time.
#[derive(Clone)]
pub(crate) struct TokenKey {
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    key: DecodingKey,
    /// By the SHA-256 of the whole token, signature included.
    proven: Cache<[u8; 32], ()>,
}

/// A well-formed token: what it claims is not proven until [`Token::verify`] says so.
pub(crate) struct Token<'a> {
    text: &'a str,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) claims: Claims,
}

/// The claims that any method looks at. Times are seconds since 1970 and may have a fraction (RFC 7519).
#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) exp: f64,
    pub(crate) nbf: Option<f64>,
    pub(crate) iat: Option<f64>,
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
    #[serde(default)]
    pub(crate) aud: OneOrMany,
    #[serde(default)]
    scope: OneOrMany,
    #[serde(default)]
    scp: OneOrMany,
    pub(crate) email: Option<String>,
    #[serde(default)]
    pub(crate) email_verified: serde_json::Value,
}

/// What a token must claim.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) clock: Clock,
    /// Any of them; an empty list takes any.
    pub(crate) issuers: Vec<String>,
    /// Any of them; an empty list takes any.
    pub(crate) audiences: Vec<String>,
    /// All of them.
    pub(crate) scopes: Vec<String>,
}

/// A claim that issuers write as a string or as a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
    None(()),
}

impl<'a> Token<'a> {
    /// Reads a token; only HS256, RS256 and ES256 are taken, no token of another kind, and no critical extension
    /// (RFC 7515, 4.1.11).
    pub(crate) fn parse(text: &'a str) -> Result<Self, Why> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Why::NotAToken(format!(
                "{} bytes, at most {MAX_TOKEN_BYTES} are read",
                text.len()
            )));
        }
        let TokenData { header, claims } =
            insecure_decode(text).map_err(|error| Why::NotAToken(short(&error.to_string())))?;
        if !matches!(header.alg, Algorithm::HS256 | Algorithm::RS256 | Algorithm::ES256) {
            return Err(Why::Algorithm(header.alg));
        }
        if let Some(crit) = header.crit {
            return Err(Why::NotAToken(format!(
                "critical extensions {}",
                short(&format!("{crit:?}"))
            )));
        }
        let is_of_calls = header.typ.as_deref().is_none_or(|typ| {
            let typ = typ.to_ascii_lowercase();
            TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
        });
        if !is_of_calls || header.cty.is_some() || header.enc.is_some() {
            return Err(Why::NotAToken(format!(
                "type {}, content type {}",
                short(&format!("{:?}", header.typ)),
                short(&format!("{:?}", header.cty))
            )));
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(Why::NotAToken(format!("a key id of more than {MAX_KID_BYTES} bytes")));
        }
        Ok(Self {
            text,
            algorithm: header.alg,
            kid: header.kid,
            claims,
        })
    }

    /// Proves the token with one of `keys`.
    pub(crate) fn verify<'k>(&self, keys: impl IntoIterator<Item = &'k TokenKey>) -> Result<(), Why> {
        let (message, signature) = self.text.rsplit_once('.').ok_or(Why::Signature)?;
        let fitting = keys.into_iter().filter(|key| key.algorithm == self.algorithm);
        let fitting: Vec<&TokenKey> = fitting.collect();
        if fitting.is_empty() {
            return Err(Why::NoKey {
                algorithm: self.algorithm,
                kid: self.kid.as_deref().map(short),
            });
        }
        let digest = digest(self.text);
        if fitting.iter().any(|key| key.proven.get(&digest).is_some()) {
            return Ok(());
        }
        let proves = |key: &&&TokenKey| {
            let verified = crypto::verify(signature, message.as_bytes(), &key.key, self.algorithm);
            matches!(verified, Ok(true))
        };
        let proof = fitting.iter().find(proves).ok_or(Why::Signature)?;
        proof.proven.insert(digest, ());
        Ok(())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl TokenKey {
    pub(crate) fn new(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Self {
        let proven = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED)
            .build();
        Self {
            kid,
            algorithm,
            key,
            proven,
        }
    }
}

impl Expected {
    /// Checks the times, issuer, audience and scopes of a token.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), Why> {
        if !self.issuers.is_empty() && !self.is_of_issuer(claims) {
            return Err(Why::Issuer(claims.iss.as_deref().map(short)));
        }
        let now = self.clock.now().timestamp();
        claims.check_times(now, SKEW_SECONDS)?;
        claims.check_lifetime(now, MAX_LIFETIME_DAYS)?;
        claims.check_audience(&self.audiences)?;
        match self.scopes.iter().find(|scope| !claims.has_scope(scope)) {
            Some(missing) => Err(Why::Scope(missing.clone())),
            None => Ok(()),
        }
    }

    /// Whether a token says that it is of one of these issuers.
    pub(crate) fn is_of_issuer(&self, claims: &Claims) -> bool {
        claims.iss.as_ref().is_some_and(|issuer| self.issuers.contains(issuer))
    }
}

impl Claims {
    /// Checks `exp`, `nbf` and `iat` at `now`, both in seconds, with clocks that differ by up to `skew`.
    pub(crate) fn check_times(&self, now: i64, skew: i64) -> Result<(), Why> {
        let (now, skew) = (now as f64, skew as f64);
        if now >= self.exp + skew {
            return Err(Why::Expired {
                seconds_ago: (now - self.exp) as i64,
            });
        }
        let starts = [self.nbf, self.iat].into_iter().flatten().fold(f64::MIN, f64::max);
        if now + skew < starts {
            return Err(Why::NotYetValid {
                seconds_left: (starts - now) as i64,
            });
        }
        Ok(())
    }

    /// Checks that a token expires within so many days from `now`, in seconds.
    pub(crate) fn check_lifetime(&self, now: i64, days: i64) -> Result<(), Why> {
        match self.exp < (now + days * 24 * 60 * 60) as f64 {
            true => Ok(()),
            false => Err(Why::Lifetime { days }),
        }
    }

    /// Checks that `aud` names one of `accepted`; an empty list accepts any.
    pub(crate) fn check_audience(&self, accepted: &[String]) -> Result<(), Why> {
        if accepted.is_empty() || self.aud.as_slice().iter().any(|audience| accepted.contains(audience)) {
            return Ok(());
        }
        Err(Why::Audience(short(&format!("{:?}", self.aud.as_slice()))))
    }

    /// Whether the token has a scope, in `scope` (RFC 8693) or `scp`, written as a list or separated by spaces.
    pub(crate) fn has_scope(&self, wanted: &str) -> bool {
        let granted = [&self.scope, &self.scp].into_iter().flat_map(OneOrMany::as_slice);
        granted
            .flat_map(|scopes| scopes.split(' '))
            .any(|scope| scope == wanted)
    }
}

impl OneOrMany {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::None(()) => &[],
        }
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::None(())
    }
}

/// As much of a caller's text as may go to the log.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};

    use super::*;

    #[test]
    fn key_remembers_what_it_has_proven_itself_for_a_minute_and_no_more_than_there_is_room_for() {
        let signed = |secret: &[u8]| {
            let claims = serde_json::json!({"exp": 1_750_000_000});
            jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).unwrap()
        };
        let key = |secret: &[u8]| TokenKey::new(None, Algorithm::HS256, DecodingKey::from_secret(secret));
        let (keys, text) = ([key(b"one"), key(b"other")], signed(b"other"));
        let token = Token::parse(&text).unwrap();
        for _ in 0..2 {
            token.verify(&keys).unwrap();
            let known = keys.each_ref().map(|key| key.proven.contains_key(&digest(&text)));
            assert_eq!(known, [false, true]);
        }
        assert!(matches!(token.verify(&[key(b"one")]), Err(Why::Signature)));
        let forged = signed(b"a third");
        assert!(matches!(
            Token::parse(&forged).unwrap().verify(&keys),
            Err(Why::Signature)
        ));
        assert!(keys.iter().all(|key| !key.proven.contains_key(&digest(&forged))));
        let bounds = keys[0].proven.policy();
        assert_eq!(bounds.max_capacity(), Some(MAX_REMEMBERED));
        assert_eq!(bounds.time_to_live(), Some(REMEMBERED));
    }
}
