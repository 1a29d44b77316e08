//! Outgoing requests: signed as Standard Webhooks, to public addresses only, with a breaker for each host.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use recloser::Error as Broken;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

use crate::address::{self, PublicOnly};
use crate::upstream::{self, Breakers};

/// At most so long is waited because a receiver says so.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// A request to send.
pub(super) struct Request<'a> {
    /// The same at each attempt.
    pub(super) id: Uuid,
    pub(super) method: Method,
    pub(super) url: Url,
    /// More headers, or others than usual; those of the signature stay.
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Those it is signed with, all of them; none: it is not signed.
    pub(super) secrets: Vec<Vec<u8>>,
    pub(super) timeout: Duration,
    pub(super) allow_private: bool,
    pub(super) traceparent: Option<&'a str>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Sent,
    /// It is not to be tried again.
    Failed(String),
    /// It may be tried again, not before so long.
    Retry { after: Option<Duration>, reason: String },
    /// It was not sent, because the host has failed of late.
    Resting,
}

/// Sends requests.
#[derive(Clone)]
pub(super) struct Webhooks {
    public: Client,
    any: Client,
    breakers: Breakers,
}

impl Webhooks {
    /// With connections of its own; `breakers` may be shared with others that call.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(breakers: Breakers) -> anyhow::Result<Self> {
        // A redirect would lead around the check of the address, and so would a proxy.
        let builder = || {
            upstream::client_builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
        };
        Ok(Self {
            public: builder()
                .dns_resolver(PublicOnly)
                .build()
                .context("cannot set up the HTTP client")?,
            any: builder().build().context("cannot set up the HTTP client")?,
            breakers,
        })
    }

    /// Sends once.
    pub(super) async fn send(&self, request: Request<'_>, now: DateTime<Utc>) -> Outcome {
        if let Err(error) = address::check(&request.url, request.allow_private) {
            return Outcome::Failed(error.to_string());
        }
        let client = if request.allow_private { &self.any } else { &self.public };
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let timestamp = now.timestamp().to_string();
        let mut sending = client
            .request(request.method, request.url)
            .timeout(request.timeout)
            .header(CONTENT_TYPE, "application/json")
            .headers(request.headers)
            .headers(HeaderMap::from_iter([
                (HeaderName::from_static("webhook-id"), value(request.id.to_string())),
                (HeaderName::from_static("webhook-timestamp"), value(timestamp.clone())),
            ]));
        if !request.secrets.is_empty() {
            let signature = value(signature(&request.secrets, request.id, &timestamp, &request.body));
            let name = HeaderName::from_static("webhook-signature");
            sending = sending.headers(HeaderMap::from_iter([(name, signature)]));
        }
        if let Some(traceparent) = request.traceparent {
            sending = sending.header("traceparent", traceparent);
        }
        let exchange = async {
            match sending.body(request.body).send().await {
                Ok(response) => judge(response.status(), response.headers().get(RETRY_AFTER), now),
                Err(error) => Err(Outcome::Retry {
                    after: None,
                    reason: unreached(error),
                }),
            }
        };
        match self.breakers.of(&host).call(exchange).await {
            Ok(outcome) | Err(Broken::Inner(outcome)) => outcome,
            Err(Broken::Rejected) => Outcome::Resting,
        }
    }
}

/// Ids, times and signatures are made of letters, digits and signs.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `Err` is what counts against the host.
fn judge(status: StatusCode, retry_after: Option<&HeaderValue>, now: DateTime<Utc>) -> Result<Outcome, Outcome> {
    if status.is_success() {
        return Ok(Outcome::Sent);
    }
    let reason = format!("status {}", status.as_u16());
    if status == StatusCode::GONE {
        return Ok(Outcome::Failed(reason));
    }
    let may_say = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let after = retry_after
        .filter(|_| may_say)
        .and_then(|after| after.to_str().ok())
        .and_then(|after| wait(after, now));
    let retry = Outcome::Retry { after, reason };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(retry)
    } else {
        Ok(retry)
    }
}

/// What Retry-After says: seconds, or a date (RFC 9110); an hour at most.
fn wait(after: &str, now: DateTime<Utc>) -> Option<Duration> {
    let wait = match after.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(after).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Why there was no answer, innermost cause last. A URL may hold a key; errors must not.
fn unreached(error: reqwest::Error) -> String {
    let error = anyhow::Error::new(error.without_url());
    let reason = format!("{error:#}");
    reason.chars().take(300).collect()
}

/// Standard Webhooks: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, one for each secret.
pub(super) fn signature(secrets: &[Vec<u8>], id: Uuid, timestamp: &str, body: &[u8]) -> String {
    let signatures = secrets.iter().filter_map(|secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_the_one_of_the_standards_own_library() {
        let encoded = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = STANDARD.decode(encoded).unwrap();
        let (id, body) = (Uuid::nil(), br#"{"test": 2432232314}"#);
        let theirs = standardwebhooks::Webhook::new(&format!("whsec_{encoded}")).unwrap();
        let theirs = theirs.sign(&id.to_string(), 1_614_265_330, body).unwrap();
        assert_eq!(signature(std::slice::from_ref(&secret), id, "1614265330", body), theirs);
        let both = signature(&[secret, b"the old one".to_vec()], id, "1614265330", body);
        assert!(both.starts_with(&format!("{theirs} v1,")), "{both}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: DateTime<Utc> = "2026-09-21T07:28:00Z".parse().unwrap();
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            wait("Mon, 21 Sep 2026 07:28:30 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(wait("Mon, 21 Sep 2026 07:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(wait("99999999", now), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon", now), None);
    }
}
