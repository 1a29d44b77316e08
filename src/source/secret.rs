//! A source's secrets: several live at once, from a variable, a file, or made here.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use subtle::Choice;

use crate::auth::jwt::JWT_KEY;
use crate::auth::secrets::{Kind, LEAST_BYTES, Live, line_lengths, lines};
use crate::auth::token::TokenKey;
use crate::auth::{AuthConfigError, Exposure};

/// A secret in the form in which its scheme uses it.
#[derive(Clone)]
pub(super) enum Secret {
    /// Known to the sender and to us.
    Shared(Box<[u8]>),
    /// The sender's Ed25519 key.
    PublicKey(Box<[u8]>),
    /// A key of an issuer of JWTs.
    Jwt(TokenKey),
}

/// How the lines of secrets are read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// As they stand.
    Plain,
    /// As Standard Webhooks writes them: `whsec_…` or `whpk_…`, base64.
    Standard,
    /// As AUTH_JWT_KEY.
    Jwt,
}

impl Secret {
    /// The bytes, where they are known to both sides.
    pub(super) fn shared(&self) -> Option<&[u8]> {
        match self {
            Self::Shared(bytes) => Some(bytes),
            Self::PublicKey(_) | Self::Jwt(_) => None,
        }
    }
}

/// The first of the secrets that `fits`. All are tried, so that the time it takes does not tell which one did.
pub(super) fn first_that(secrets: &[Secret], fits: impl Fn(&Secret) -> Choice) -> Option<usize> {
    let mut found = None;
    for (index, secret) in secrets.iter().enumerate() {
        if bool::from(fits(secret)) && found.is_none() {
            found = Some(index);
        }
    }
    found
}

/// Reads the secrets of the variable `setting` and of the file that `{setting}_FILE` names; none where neither is set.
pub(super) fn live(
    setting: &str,
    reading: Reading,
    exposure: Exposure,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Live<Secret>, AuthConfigError> {
    Live::of(
        kind(setting.to_owned(), format!("{setting}_FILE"), reading),
        variable,
        exposure,
    )
}

/// None at all.
pub(super) fn none() -> Live<Secret> {
    Live::none(kind(String::new(), String::new(), Reading::Plain))
}

fn kind(setting: String, file_setting: String, reading: Reading) -> Kind<Secret> {
    Kind {
        setting: setting.into(),
        file_setting: file_setting.into(),
        expected: match reading {
            Reading::Plain => "secrets, one a line",
            Reading::Standard => {
                "`whsec_` and base64 of 24 to 64 bytes, or `whpk_` and base64 of an Ed25519 key, one a line"
            }
            Reading::Jwt => JWT_KEY.expected,
        },
        least_bytes: match reading {
            Reading::Plain | Reading::Standard => LEAST_BYTES,
            Reading::Jwt => JWT_KEY.least_bytes,
        },
        lengths: match reading {
            Reading::Plain => line_lengths,
            // Shorter ones are not taken at all.
            Reading::Standard => |_| Vec::new(),
            Reading::Jwt => JWT_KEY.lengths,
        },
        parse: match reading {
            Reading::Plain => |text| {
                Ok(lines(text)
                    .map(|(_, line)| Secret::Shared(line.as_bytes().into()))
                    .collect())
            },
            Reading::Standard => |text| lines(text).map(|(number, line)| standard(number, line)).collect(),
            Reading::Jwt => |text| Ok((JWT_KEY.parse)(text)?.into_iter().map(Secret::Jwt).collect()),
        },
    }
}

fn standard(number: usize, line: &str) -> Result<Secret, String> {
    let public = line.strip_prefix("whpk_");
    let digits = public.unwrap_or_else(|| line.strip_prefix("whsec_").unwrap_or(line));
    let bytes = STANDARD
        .decode(digits)
        .map_err(|_| format!("line {number} is not base64"))?;
    match (public, bytes.len()) {
        (Some(_), 32) => Ok(Secret::PublicKey(bytes.into())),
        (None, 24..=64) => Ok(Secret::Shared(bytes.into())),
        (_, length) => Err(format!("line {number} is of {length} bytes")),
    }
}

/// A new secret, of the form that Standard Webhooks wants.
///
/// # Errors
/// When the system has no random bytes.
pub(crate) fn new() -> anyhow::Result<SecretString> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).context("no random bytes")?;
    Ok(format!("whsec_{}", STANDARD.encode(random)).into())
}
