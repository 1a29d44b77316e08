//! Signed requests: HMAC-SHA256 over `timestamp.body`, within a window of time, each only once.
//!
//! The caller sends two headers beside the body: `x-rejoinder-timestamp`, in seconds since 1970 (UTC), and
//! `x-rejoinder-signature`, `v1=` and the lower-case hex HMAC-SHA256, with the secret as the key, of the timestamp,
//! a full stop and the body, byte for byte as sent. During a rotation a caller may send several signatures,
//! separated by commas. In a shell:
//!
//! ```sh
//! timestamp=$(date +%s)
//! signature=$({ printf '%s.' "$timestamp"; cat turn.json; } | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1)
//! curl -H 'content-type: application/json' -H "x-rejoinder-timestamp: $timestamp" \
//!     -H "x-rejoinder-signature: v1=$signature" --data-binary @turn.json http://127.0.0.1:8080/fulfillment
//! ```
//!
//! A timestamp counts for five minutes both ways. The same timestamp with the same body is admitted once, whichever replica
//! it comes to, so a retry has to be signed anew with a later timestamp.

use std::borrow::Cow;
use std::sync::Once;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Why;
use super::secrets::{Kind, LEAST_BYTES, line_lengths, lines};
use crate::clock::Clock;

/// Header that carries the time of signing, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "x-rejoinder-timestamp";
/// Header that carries the signatures.
pub const SIGNATURE_HEADER: &str = "x-rejoinder-signature";

/// How far a timestamp may lie from now, either way, in seconds.
const WINDOW_SECONDS: i64 = 300;
/// A caller needs two signatures while it rotates; each costs a comparison per secret.
const MAX_SIGNATURES: usize = 8;
/// What was seen is remembered as long as its timestamp can count: from five minutes early to five minutes late.
const REMEMBERED: Duration = Duration::from_secs(2 * WINDOW_SECONDS as u64);
/// Requests remembered at most; more than 300 a second for ten minutes would be needed to push one out.
const MAX_REMEMBERED: u64 = 200_000;

/// The signature header's value for a body, signed at `timestamp` (seconds since 1970).
pub fn sign(secret: &[u8], timestamp: i64, body: &[u8]) -> String {
    let mac = mac(&keyed(secret), timestamp.to_string().as_bytes(), body);
    format!("v1={}", hex::encode(mac))
}

pub(super) type HmacKey = Hmac<Sha256>;

/// AUTH_HMAC_SECRET and AUTH_HMAC_SECRET_FILE.
pub(super) const HMAC_SECRET: Kind<HmacKey> = Kind {
    setting: Cow::Borrowed("AUTH_HMAC_SECRET"),
    file_setting: Cow::Borrowed("AUTH_HMAC_SECRET_FILE"),
    expected: "secrets, best of 32 bytes or more, one a line",
    least_bytes: LEAST_BYTES,
    lengths: line_lengths,
    parse: |text| Ok(lines(text).map(|(_, line)| keyed(line.as_bytes())).collect()),
};

/// Checks signatures and remembers which requests it has admitted.
#[derive(Debug)]
pub(super) struct SignatureCheck {
    clock: Clock,
    seen: Cache<[u8; 32], ()>,
}

impl SignatureCheck {
    pub(super) fn new(clock: Clock) -> Self {
        static FULL: Once = Once::new();
        let seen = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(|_, (), cause| {
                if cause == RemovalCause::Size {
                    FULL.call_once(|| {
                        tracing::warn!(limit = MAX_REMEMBERED, "too many signed requests to remember all")
                    });
                }
            })
            .build();
        Self { clock, seen }
    }

    /// Whether the request carries a signature.
    pub(super) fn is_signed(headers: &HeaderMap) -> bool {
        headers.contains_key(SIGNATURE_HEADER)
    }

    /// Admits a request that is signed with one of `keys`, in the window, for the first time.
    pub(super) async fn check(&self, keys: &[HmacKey], headers: &HeaderMap, body: &[u8]) -> Result<(), Why> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp = text(TIMESTAMP_HEADER).unwrap_or_default();
        if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Why::Timestamp);
        }
        let signed_at: i64 = timestamp.parse().map_err(|_| Why::Timestamp)?;
        let late_by = self.clock.now().timestamp().saturating_sub(signed_at);
        if late_by.saturating_abs() > WINDOW_SECONDS {
            return Err(Why::Window { late_by });
        }
        if !proves(keys, headers, body) {
            return Err(Why::Signature);
        }
        // Remembered by what was signed, not by the signature: there may be one for each live secret.
        match self.seen.entry(signed(headers, body)).or_insert(()).await.is_fresh() {
            true => Ok(()),
            false => Err(Why::Replay),
        }
    }
}

/// A hash of what was signed.
pub(crate) fn signed(headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
    let timestamp = headers.get(TIMESTAMP_HEADER).map(|value| value.as_bytes());
    let signed = Sha256::new().chain_update(timestamp.unwrap_or_default());
    signed.chain_update(".").chain_update(body).finalize().into()
}

/// Whether the request is signed with one of `keys`, whenever that was.
pub(super) fn proves(keys: &[HmacKey], headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = text(TIMESTAMP_HEADER).unwrap_or_default();
    let signatures = signatures(text(SIGNATURE_HEADER).unwrap_or_default());
    let mut matched = Choice::from(0);
    for key in keys {
        let expected = mac(key, timestamp.as_bytes(), body);
        for signature in &signatures {
            matched |= expected.ct_eq(signature);
        }
    }
    matched.into()
}

fn signatures(header: &str) -> Vec<[u8; 32]> {
    header
        .split([',', ' '])
        .filter_map(|part| part.strip_prefix("v1="))
        .filter_map(|digits| {
            let mut signature = [0; 32];
            hex::decode_to_slice(digits, &mut signature).ok().map(|()| signature)
        })
        .take(MAX_SIGNATURES)
        .collect()
}

fn mac(key: &HmacKey, timestamp: &[u8], body: &[u8]) -> [u8; 32] {
    key.clone()
        .chain_update(timestamp)
        .chain_update(b".")
        .chain_update(body)
        .finalize()
        .into_bytes()
        .into()
}

#[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
fn keyed(secret: &[u8]) -> HmacKey {
    HmacKey::new_from_slice(secret).expect("a key of any length")
}
