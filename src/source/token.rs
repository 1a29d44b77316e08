//! Callers who show a secret instead of signing: Basic, bearer and JWT, and Microsoft Graph's `clientState`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::request::{Refused, text};
use super::secret::{Secret, first_that};
use crate::auth::Why;
use crate::auth::jwt::{JwtCheck, Keys};
use crate::auth::token::Token;

/// Which of the secrets, `user:password`, the caller shows.
pub(super) fn basic(secrets: &[Secret], headers: &HeaderMap) -> Result<usize, Refused> {
    let pair = STANDARD
        .decode(credentials(headers, "basic")?)
        .map_err(|_| Refused::BadSignature)?;
    shown(secrets, &pair).ok_or(Refused::BadSignature)
}

/// Which of the secrets the caller shows as a bearer token.
pub(super) fn bearer(secrets: &[Secret], headers: &HeaderMap) -> Result<usize, Refused> {
    let token = credentials(headers, "bearer")?;
    shown(secrets, token.as_bytes()).ok_or(Refused::BadSignature)
}

/// Which of the keys has proven the caller's JWT; 0 where the issuer publishes its keys.
pub(super) async fn jwt(check: &JwtCheck, secrets: &[Secret], headers: &HeaderMap) -> Result<usize, Refused> {
    let token = Token::parse(credentials(headers, "bearer")?).map_err(refused)?;
    if !matches!(check.keys, Keys::Set) {
        return check.check(&token, &[]).await.map(|_| 0).map_err(refused);
    }
    let mut refusal = Refused::BadSignature;
    for (index, secret) in secrets.iter().enumerate() {
        let Secret::Jwt(key) = secret else { continue };
        match check.check(&token, std::slice::from_ref(key)).await {
            Ok(_) => return Ok(index),
            Err(why) => refusal = refused(why),
        }
    }
    Err(refusal)
}

/// Which of the secrets is the `clientState` of all notifications in the body: the last one, where they differ.
pub(super) fn client_state(secrets: &[Secret], body: &[u8]) -> Result<usize, Refused> {
    #[derive(Deserialize)]
    struct Notifications<'a> {
        #[serde(borrow)]
        value: Vec<Notification<'a>>,
    }
    #[derive(Deserialize)]
    struct Notification<'a> {
        #[serde(borrow, rename = "clientState")]
        client_state: Cow<'a, str>,
    }
    let missing = || Refused::Missing("clientState".to_owned());
    let notifications: Notifications<'_> = serde_json::from_slice(body).map_err(|_| missing())?;
    let mut oldest = None;
    for notification in &notifications.value {
        let shown = shown(secrets, notification.client_state.as_bytes()).ok_or(Refused::BadSignature)?;
        oldest = oldest.max(Some(shown));
    }
    oldest.ok_or_else(missing)
}

/// Digests are compared: they have one length, so that the time does not tell how long the secret is.
pub(super) fn shown(secrets: &[Secret], presented: &[u8]) -> Option<usize> {
    let presented = Sha256::digest(presented);
    first_that(secrets, |secret| match secret.shared() {
        Some(known) => Sha256::digest(known).ct_eq(&presented),
        None => Choice::from(0),
    })
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Result<&'a str, Refused> {
    text(headers, AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(found, _)| found.eq_ignore_ascii_case(scheme))
        .map(|(_, credentials)| credentials.trim())
        .ok_or_else(|| Refused::Missing(AUTHORIZATION.to_string()))
}

fn refused(why: Why) -> Refused {
    tracing::debug!(%why, "a sender's token was refused");
    match why {
        Why::KeysUnavailable | Why::NotJudged(_) => {
            Refused::Unavailable("the issuer's keys cannot be fetched".to_owned())
        }
        Why::Expired { seconds_ago } => Refused::OldTimestamp { off_by_s: seconds_ago },
        Why::NotLive
        | Why::NotAToken(_)
        | Why::NotActive
        | Why::Algorithm(_)
        | Why::NoKey { .. }
        | Why::Signature
        | Why::NotYetValid { .. }
        | Why::Lifetime { .. }
        | Why::Issuer(_)
        | Why::Audience(_)
        | Why::Scope(_)
        | Why::Email(_)
        | Why::EmailNotVerified
        | Why::Timestamp
        | Why::Window { .. }
        | Why::Replay => Refused::BadSignature,
    }
}
