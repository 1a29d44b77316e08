//! Secrets that are simply repeated by the caller: Basic credentials and opaque bearer tokens.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::secrets::{Kind, LEAST_BYTES, line_lengths, lines};

/// The digest of a secret. Digests have one length, so that a comparison cannot tell how long the secret is.
#[derive(Clone)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

/// AUTH_BASIC and AUTH_BASIC_FILE.
pub(super) const BASIC: Kind<Fingerprint> = Kind {
    setting: Cow::Borrowed("AUTH_BASIC"),
    file_setting: Cow::Borrowed("AUTH_BASIC_FILE"),
    expected: "`user:password`, one a line",
    least_bytes: LEAST_BYTES,
    lengths: |text| {
        let password = |line: &str| line.split_once(':').map_or(0, |(_, password)| password.len());
        lines(text).map(|(number, line)| (number, password(line))).collect()
    },
    parse: |text| {
        lines(text)
            .map(|(number, line)| match line.split_once(':') {
                None => Err(format!("line {number} has no colon")),
                Some((_, "")) => Err(format!("line {number} has no password")),
                Some(_) => Ok(Fingerprint::of(line.as_bytes())),
            })
            .collect()
    },
};

/// AUTH_BEARER and AUTH_BEARER_FILE.
pub(super) const BEARER: Kind<Fingerprint> = Kind {
    setting: Cow::Borrowed("AUTH_BEARER"),
    file_setting: Cow::Borrowed("AUTH_BEARER_FILE"),
    expected: "opaque tokens of visible ASCII characters, one a line",
    least_bytes: LEAST_BYTES,
    lengths: line_lengths,
    parse: |text| {
        lines(text)
            .map(
                |(number, line)| match line.bytes().all(|byte| byte.is_ascii_graphic()) {
                    true => Ok(Fingerprint::of(line.as_bytes())),
                    false => Err(format!(
                        "line {number} holds a space or a character that is not visible ASCII"
                    )),
                },
            )
            .collect()
    },
};

/// Whether `secret` is one of the live ones, in a time that depends on their number only.
pub(super) fn is_live(live: &[Fingerprint], secret: &[u8]) -> bool {
    let presented = Fingerprint::of(secret);
    live.iter()
        .fold(Choice::from(0), |found, known| found | known.0.ct_eq(&presented.0))
        .into()
}

/// The user name of live Basic credentials, as sent (RFC 7617: base64 of `user:password`); `None` refuses them.
pub(super) fn basic_user(live: &[Fingerprint], credentials: &str) -> Option<String> {
    let pair = STANDARD.decode(credentials).ok()?;
    if !is_live(live, &pair) {
        return None;
    }
    let user = pair.split(|byte| *byte == b':').next()?;
    Some(String::from_utf8_lossy(user).into_owned())
}
