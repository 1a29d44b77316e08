//! Outgoing requests: signed as Standard Webhooks, with a token or both, to public addresses only, with a breaker for each host.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use recloser::Error as Broken;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use sha2::Sha256;
use tokio::time::Instant;
use tracing::Span;
use url::Url;
use uuid::Uuid;

use crate::address::{self, PublicOnly};
use crate::breakers::{Breakers, Caller};
use crate::client_credentials::{ClientCredentials, Tokens};
use crate::clock::Clock;
use crate::telemetry::traces::traceparent;
use crate::upstream;

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
    /// Whose token it bears; none: it bears none.
    pub(super) oauth: Option<ClientCredentials>,
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
    tokens: Tokens,
}

impl Webhooks {
    /// With connections of its own; `breakers` may be shared with others that call.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(breakers: Breakers, clock: Clock) -> anyhow::Result<Self> {
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
            tokens: Tokens::new(clock),
        })
    }

    /// Sends once; with a token, once more where it is refused (401), for then nothing was done. All of it takes no longer
    /// than the request's time.
    pub(super) async fn send(&self, request: Request<'_>, now: DateTime<Utc>) -> Outcome {
        if let Err(error) = address::check(&request.url, request.allow_private) {
            return Outcome::Failed(error.to_string());
        }
        let until = Instant::now() + request.timeout;
        let mut token = None;
        if let Some(client) = &request.oauth {
            token = match self.token(client, &request, until).await {
                Ok(token) => Some(token),
                Err(outcome) => return outcome,
            };
        }
        let first = self.attempt(&request, token.as_ref(), until, now).await;
        let (Some(client), Some(token), Answered::Unauthorized) = (&request.oauth, token, &first) else {
            return first.outcome();
        };
        self.tokens.refuse(client, request.allow_private, &token);
        match self.token(client, &request, until).await {
            Ok(token) => self.attempt(&request, Some(&token), until, now).await.outcome(),
            Err(outcome) => outcome,
        }
    }

    async fn token(
        &self,
        client: &ClientCredentials,
        request: &Request<'_>,
        until: Instant,
    ) -> Result<HeaderValue, Outcome> {
        let retry = |reason: String| Outcome::Retry {
            after: None,
            reason: reason.chars().take(300).collect(),
        };
        let had = self.tokens.bearer(client, self.client(request), request.allow_private);
        match tokio::time::timeout_at(until, had).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(retry(format!("{error:#}"))),
            Err(_) => Err(retry("no token in time".to_owned())),
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        token: Option<&HeaderValue>,
        until: Instant,
        now: DateTime<Utc>,
    ) -> Answered {
        let host = request.url.host_str().unwrap_or_default();
        let timestamp = now.timestamp().to_string();
        let mut sending = self
            .client(request)
            .request(request.method.clone(), request.url.clone())
            .timeout(until.saturating_duration_since(Instant::now()))
            .header(CONTENT_TYPE, "application/json")
            .headers(request.headers.clone())
            .headers(HeaderMap::from_iter([
                (HeaderName::from_static("webhook-id"), value(request.id.to_string())),
                (HeaderName::from_static("webhook-timestamp"), value(timestamp.clone())),
            ]));
        if !request.secrets.is_empty() {
            let signature = value(signature(&request.secrets, request.id, &timestamp, &request.body));
            let name = HeaderName::from_static("webhook-signature");
            sending = sending.headers(HeaderMap::from_iter([(name, signature)]));
        }
        if let Some(token) = token {
            sending = sending.headers(HeaderMap::from_iter([(AUTHORIZATION, token.clone())]));
        }
        let here = traceparent(&Span::current());
        if let Some(traceparent) = here.as_deref().or(request.traceparent) {
            sending = sending.header("traceparent", traceparent);
        }
        let exchange = async {
            match sending.body(request.body.clone()).send().await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Ok(Answered::Unauthorized),
                Ok(response) => {
                    let judged = judge(response.status(), response.headers().get(RETRY_AFTER), now);
                    judged.map(Answered::Otherwise)
                }
                Err(error) => Err(Outcome::Retry {
                    after: None,
                    reason: unreached(error),
                }),
            }
        };
        match self.breakers.call(host, Caller::Outbox, exchange).await {
            Ok(answered) => answered,
            Err(Broken::Inner(outcome)) => Answered::Otherwise(outcome),
            Err(Broken::Rejected) => Answered::Otherwise(Outcome::Resting),
        }
    }

    fn client(&self, request: &Request<'_>) -> &Client {
        if request.allow_private { &self.any } else { &self.public }
    }
}

/// What came of one attempt.
enum Answered {
    /// The receiver did nothing, for it does not know us.
    Unauthorized,
    Otherwise(Outcome),
}

impl Answered {
    fn outcome(self) -> Outcome {
        match self {
            Self::Unauthorized => Outcome::Retry {
                after: None,
                reason: "status 401".to_owned(),
            },
            Self::Otherwise(outcome) => outcome,
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
