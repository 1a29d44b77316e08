//! A request of a sender, and when a signature of it counts.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The media type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// A request, before anything is believed of it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// How it was called, such as `POST`.
    pub(crate) method: &'a str,
    /// What stands behind the `?` of the address, as it was sent; empty where there is none.
    pub(crate) query: &'a str,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// The body, byte for byte as it was sent.
    pub(crate) body: &'a [u8],
}

/// A request that is the sender's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Which of the live secrets proved it; 0 is the current one, others are on their way out.
    pub(crate) secret: usize,
}

/// A request that is not taken for the sender's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is not signed, or not wholly (401).
    #[error("{0} is missing")]
    Missing(String),
    /// No live secret proves it (401).
    #[error("the signature is wrong")]
    BadSignature,
    /// The time of signing is none (401).
    #[error("the time of signing cannot be read")]
    BadTimestamp,
    /// It was signed too long ago, or in the future (401).
    #[error("signed {off_by_s} s ago, outside the window")]
    OldTimestamp {
        /// Seconds from then to now; negative in the future.
        off_by_s: i64,
    },
    /// The source has no secrets yet (503).
    #[error("this source is not set up")]
    NotConfigured,
    /// It cannot be verified right now (503).
    #[error("{0}")]
    Unavailable(String),
}

/// When a signature counts.
pub(super) struct Window {
    /// Seconds since 1970.
    pub(super) now: i64,
    /// How far the time of signing may be from it, either way, in seconds.
    pub(super) tolerance: i64,
}

impl Window {
    /// Checks a time of signing, in seconds since 1970.
    pub(super) fn check(&self, text: &str) -> Result<(), Refused> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused::BadTimestamp);
        }
        self.check_seconds(text.parse().map_err(|_| Refused::BadTimestamp)?)
    }

    pub(super) fn check_seconds(&self, signed_at: i64) -> Result<(), Refused> {
        let off_by_s = self.now.saturating_sub(signed_at);
        match off_by_s.saturating_abs() <= self.tolerance {
            true => Ok(()),
            false => Err(Refused::OldTimestamp { off_by_s }),
        }
    }
}

/// The media type of a body: lower-case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    media_type_of(text(headers, CONTENT_TYPE.as_str()).unwrap_or_default())
}

/// The media type that a content type begins with.
pub(super) fn media_type_of(content_type: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// A header that is of visible characters.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
