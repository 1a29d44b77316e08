//! Keys that an issuer publishes, by their ids.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::FutureExt as _;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use moka::future::Cache;
use serde::Deserialize;
use url::Url;

use super::Why;
use super::published::{Published, get, public};
use super::token::{Token, TokenKey};
use crate::clock::Clock;

/// More keys than this are not read: a token without a key id is tried with each.
const MAX_KEYS: usize = 64;

/// How long a key id counts as unknown after a fetch that did not bring it, in seconds.
const UNKNOWN_SECONDS: i64 = 60;
const MAX_UNKNOWN: u64 = 1024;

/// An issuer's published keys; clones share them.
#[derive(Clone)]
pub(crate) struct Jwks {
    url: Url,
    clock: Clock,
    published: Published<Vec<TokenKey>>,
    /// Key ids that the last fetch did not bring, with the time of asking.
    unknown: Cache<String, i64>,
}

impl Jwks {
    pub(crate) fn new(url: Url, http: reqwest::Client, clock: Clock) -> Self {
        let unknown = Cache::builder()
            .max_capacity(MAX_UNKNOWN)
            .time_to_live(Duration::from_secs(UNKNOWN_SECONDS as u64))
            .build();
        let from = url.clone();
        let fetch = move || {
            let (http, url) = (http.clone(), from.clone());
            async move {
                let (body, fresh_seconds) = get(&http, &url).await?;
                Ok((published_keys(&body)?, fresh_seconds))
            }
            .boxed()
        };
        Self {
            published: Published::new(public(&url), clock.clone(), Box::new(fetch)),
            url,
            clock,
            unknown,
        }
    }

    /// Where they are published.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Starts a fetch in the background, if none is under way and one is allowed; needs a tokio runtime.
    pub(crate) fn fetch_in_background(&self) {
        self.published.fetch_in_background();
    }

    /// Proves a token with the published key that it names, or with any when it or the keys have no id.
    ///
    /// Waits for a fetch, two seconds at most, when there are no usable keys or the key id is a new one.
    pub(crate) async fn verify(&self, token: &Token<'_>) -> Result<(), Why> {
        let kid = token.kid.as_deref();
        let mut keys = self.published.usable().await.ok_or(Why::KeysUnavailable)?;
        if let Some(kid) = kid
            && !may_hold(&keys.value, kid)
            && !self.is_known_unknown(kid).await
        {
            let before = Arc::clone(&keys);
            self.published.fetch().await;
            keys = self.published.kept().ok_or(Why::KeysUnavailable)?;
            // Unknown only when a fetch really took place: a key may have been published since the last one.
            if !may_hold(&keys.value, kid) && !Arc::ptr_eq(&before, &keys) {
                self.unknown.insert(kid.to_owned(), self.now()).await;
            }
        }
        token.verify(fitting(&keys.value, kid))
    }

    async fn is_known_unknown(&self, kid: &str) -> bool {
        let asked_at = self.unknown.get(kid).await;
        asked_at.is_some_and(|asked_at| (0..UNKNOWN_SECONDS).contains(&(self.now() - asked_at)))
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &public(&self.url))
            .finish_non_exhaustive()
    }
}

fn may_hold(keys: &[TokenKey], kid: &str) -> bool {
    fitting(keys, Some(kid)).next().is_some()
}

fn fitting<'a>(keys: &'a [TokenKey], kid: Option<&'a str>) -> impl Iterator<Item = &'a TokenKey> {
    keys.iter()
        .filter(move |key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
}

/// The keys of a set (RFC 7517) that can prove a token of ours; others are passed over.
fn published_keys(body: &[u8]) -> anyhow::Result<Vec<TokenKey>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body).context("not a JWK set")?;
    let total = set.keys.len();
    let jwks = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<TokenKey> = jwks.filter_map(published_key).take(MAX_KEYS).collect();
    if keys.is_empty() {
        bail!("none of the set's {total} keys is an RS256 or ES256 signing key");
    }
    Ok(keys)
}

fn published_key(jwk: Jwk) -> Option<TokenKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
        Algorithm::RS256
    } else if let AlgorithmParameters::EllipticCurve(point) = &jwk.algorithm
        && point.curve == EllipticCurve::P256
    {
        Algorithm::ES256
    } else {
        return None;
    };
    if jwk
        .common
        .key_algorithm
        .is_some_and(|stated| stated != KeyAlgorithm::from(algorithm))
    {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(TokenKey::new(jwk.common.key_id, algorithm, key))
}
