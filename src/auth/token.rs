//! A JSON Web Token, read but not yet believed.

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, crypto};
use serde::Deserialize;

use super::Why;

/// A longer token is refused unread, in bytes; what issuers send has one to four thousand.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What a token may say that it is; others are for something else than calls, such as a logout (RFC 8725, 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
/// A longer key id is refused, in bytes; it would be remembered as an unknown one.
const MAX_KID_BYTES: usize = 256;

/// A public key or shared secret with the one algorithm that it is for.
///
/// A token chooses its algorithm, and only keys of that algorithm are tried: no token can have a public key taken for
/// an HS256 secret.
#[derive(Clone)]
pub(crate) struct TokenKey {
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
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
        let mut fitting = keys
            .into_iter()
            .filter(|key| key.algorithm == self.algorithm)
            .peekable();
        if fitting.peek().is_none() {
            return Err(Why::NoKey {
                algorithm: self.algorithm,
                kid: self.kid.as_deref().map(short),
            });
        }
        let proven = |key: &TokenKey| crypto::verify(signature, message.as_bytes(), &key.key, self.algorithm);
        match fitting.any(|key| matches!(proven(key), Ok(true))) {
            true => Ok(()),
            false => Err(Why::Signature),
        }
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
