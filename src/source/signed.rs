//! Requests signed by HMAC: one description, of which most providers are a case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

use super::request::{Refused, Request, Window};
use super::secret::{Secret, first_that};

/// Signatures looked at in one request; each costs a comparison for each secret.
pub(super) const MAX_SIGNATURES: usize = 8;

/// Where the time of signing stands: a header, or the part of it that begins with `prefix`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimestampTable {
    pub(super) header: String,
    #[serde(default)]
    pub(super) prefix: String,
}

/// What is signed, how, and where the signature stands.
#[derive(Debug)]
pub(super) struct Signed {
    header: HeaderName,
    prefix: String,
    encoding: Encoding,
    algorithm: Algorithm,
    pieces: Vec<Piece>,
    timestamp: Option<TimestampPlace>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Timestamp,
    Body,
    Header(HeaderName),
}

#[derive(Debug)]
struct TimestampPlace {
    header: HeaderName,
    prefix: String,
}

impl Signed {
    /// Stripe: `Stripe-Signature: t=…,v1=…`; docs.stripe.com/webhooks.
    pub(super) fn stripe() -> Self {
        Self {
            header: HeaderName::from_static("stripe-signature"),
            prefix: "v1=".to_owned(),
            pieces: vec![Piece::Timestamp, Piece::Text(".".to_owned()), Piece::Body],
            timestamp: Some(TimestampPlace {
                header: HeaderName::from_static("stripe-signature"),
                prefix: "t=".to_owned(),
            }),
            ..Self::of_body("stripe-signature", Encoding::Hex)
        }
    }

    /// GitHub and Meta: `X-Hub-Signature-256: sha256=…`.
    pub(super) fn hub() -> Self {
        Self {
            prefix: "sha256=".to_owned(),
            ..Self::of_body("x-hub-signature-256", Encoding::Hex)
        }
    }

    /// Shopify: `X-Shopify-Hmac-SHA256`, base64.
    pub(super) fn shopify() -> Self {
        Self::of_body("x-shopify-hmac-sha256", Encoding::Base64)
    }

    /// Slack: `X-Slack-Signature: v0=…` of `v0:{timestamp}:{body}`.
    pub(super) fn slack() -> Self {
        Self::v0("x-slack-signature", "x-slack-request-timestamp")
    }

    /// Zoom, which signs as Slack does.
    pub(super) fn zoom() -> Self {
        Self::v0("x-zm-signature", "x-zm-request-timestamp")
    }

    /// Square: base64, of the URL that the seller has configured and the body.
    pub(super) fn square(url: String) -> Self {
        Self {
            pieces: vec![Piece::Text(url), Piece::Body],
            ..Self::of_body("x-square-hmacsha256-signature", Encoding::Base64)
        }
    }

    /// As a source file describes it; `template` says what is signed, such as `{timestamp}.{body}`.
    ///
    /// # Errors
    /// When it would leave the body or the timestamp unsigned, or a name is no header's.
    pub(super) fn described(
        header: &str,
        prefix: String,
        encoding: Encoding,
        algorithm: Algorithm,
        template: &str,
        timestamp: Option<TimestampTable>,
    ) -> Result<Self, String> {
        let pieces = pieces(template)?;
        if !pieces.iter().any(|piece| matches!(piece, Piece::Body)) {
            return Err(format!("signed: found {template:?}, expected {{body}} in it"));
        }
        if timestamp.is_some() != pieces.iter().any(|piece| matches!(piece, Piece::Timestamp)) {
            return Err(format!(
                "signed: found {template:?}, expected {{timestamp}} in it just when there is a timestamp"
            ));
        }
        let timestamp = timestamp
            .map(|place| {
                Ok::<_, String>(TimestampPlace {
                    header: header_name(&place.header)?,
                    prefix: place.prefix,
                })
            })
            .transpose()?;
        Ok(Self {
            header: header_name(header)?,
            prefix,
            encoding,
            algorithm,
            pieces,
            timestamp,
        })
    }

    /// Which of the secrets has signed the request.
    pub(super) fn verify(&self, secrets: &[Secret], request: &Request<'_>, window: &Window) -> Result<usize, Refused> {
        let presented = self.presented(request.headers)?;
        let timestamp = match &self.timestamp {
            Some(place) => {
                let text = parts(request.headers, &place.header, &place.prefix)
                    .next()
                    .ok_or_else(|| Refused::Missing(place.header.to_string()))?;
                window.check(text)?;
                text
            }
            None => "",
        };
        let mut message: Vec<&[u8]> = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            message.push(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Timestamp => timestamp.as_bytes(),
                Piece::Body => request.body,
                Piece::Header(name) => request
                    .headers
                    .get(name)
                    .ok_or_else(|| Refused::Missing(name.to_string()))?
                    .as_bytes(),
            });
        }
        let fits = |secret: &Secret| {
            let Some(key) = secret.shared() else {
                return Choice::from(0);
            };
            one_of(&presented, &self.algorithm.mac(key, &message))
        };
        first_that(secrets, fits).ok_or(Refused::BadSignature)
    }

    fn presented(&self, headers: &HeaderMap) -> Result<Vec<Vec<u8>>, Refused> {
        if !headers.contains_key(&self.header) {
            return Err(Refused::Missing(self.header.to_string()));
        }
        let decoded = parts(headers, &self.header, &self.prefix).filter_map(|text| match self.encoding {
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        });
        Ok(decoded.take(MAX_SIGNATURES).collect())
    }

    fn of_body(header: &'static str, encoding: Encoding) -> Self {
        Self {
            header: HeaderName::from_static(header),
            prefix: String::new(),
            encoding,
            algorithm: Algorithm::Sha256,
            pieces: vec![Piece::Body],
            timestamp: None,
        }
    }

    fn v0(header: &'static str, timestamp: &'static str) -> Self {
        Self {
            prefix: "v0=".to_owned(),
            pieces: vec![
                Piece::Text("v0:".to_owned()),
                Piece::Timestamp,
                Piece::Text(":".to_owned()),
                Piece::Body,
            ],
            timestamp: Some(TimestampPlace {
                header: HeaderName::from_static(timestamp),
                prefix: String::new(),
            }),
            ..Self::of_body(header, Encoding::Hex)
        }
    }
}

impl Algorithm {
    /// The HMAC of the message's parts, one behind the other.
    pub(super) fn mac(self, key: &[u8], message: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, message),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, message),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, message),
        }
    }
}

/// Whether `expected` is among the signatures, in a time that tells only how many there are.
pub(super) fn one_of(presented: &[Vec<u8>], expected: &[u8]) -> Choice {
    presented
        .iter()
        .fold(Choice::from(0), |found, signature| found | expected.ct_eq(signature))
}

#[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
fn mac<M: Mac + KeyInit>(key: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The parts of a header, separated by commas or spaces, that begin with `prefix`, without it.
fn parts<'a>(headers: &'a HeaderMap, name: &HeaderName, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ' ']))
        .filter_map(move |part| part.strip_prefix(prefix))
        .filter(|part| !part.is_empty())
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let (name, behind) = behind
            .split_once('}')
            .ok_or_else(|| format!("signed: found {template:?}, expected a closing brace"))?;
        pieces.push(match name {
            "body" => Piece::Body,
            "timestamp" => Piece::Timestamp,
            "url" | "uri" | "method" | "path" | "query" => {
                return Err(format!(
                    "signed: found {{{name}}}, which is no header and cannot be signed over, expected {{body}}, \
                     {{timestamp}} or the name of a header"
                ));
            }
            header => Piece::Header(header_name(header)?),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse()
        .map_err(|_| format!("found {text:?}, expected the name of a header"))
}
