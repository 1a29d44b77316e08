//! Twilio: HMAC-SHA1 over the URL that it was told to call and the fields of the form, or a digest of the body.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use url::form_urlencoded;

use super::request::{FORM, Refused, Request, media_type, text};
use super::secret::{Secret, first_that};
use super::signed::Algorithm;

const SIGNATURE: &str = "x-twilio-signature";

/// Which of the secrets has signed the request; `url` is the one that Twilio was told to call.
///
/// The query is the request's, for Twilio adds the digest of the body to it.
pub(super) fn verify(secrets: &[Secret], url: &str, request: &Request<'_>) -> Result<usize, Refused> {
    let signature = text(request.headers, SIGNATURE).ok_or_else(|| Refused::Missing(SIGNATURE.to_owned()))?;
    let signature = STANDARD.decode(signature).map_err(|_| Refused::BadSignature)?;
    let digest = form_urlencoded::parse(request.query.as_bytes()).find(|(name, _)| name == "bodySHA256");
    let fields = match digest {
        Some((_, digest)) => {
            let found = hex::encode(Sha256::digest(request.body));
            if !bool::from(found.as_bytes().ct_eq(digest.to_ascii_lowercase().as_bytes())) {
                return Err(Refused::BadSignature);
            }
            String::new()
        }
        None if request.body.is_empty() || media_type(request.headers) == FORM => fields(request.body),
        None => return Err(Refused::BadSignature),
    };
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let messages: Vec<String> = with_and_without_port(address)
        .into_iter()
        .map(|address| match request.query {
            "" => format!("{address}{fields}"),
            query => format!("{address}?{query}{fields}"),
        })
        .collect();
    let fits = |secret: &Secret| {
        let Some(key) = secret.shared() else {
            return Choice::from(0);
        };
        messages.iter().fold(Choice::from(0), |found, message| {
            let expected = Algorithm::Sha1.mac(key, &[message.as_bytes()]);
            found | expected.ct_eq(&signature)
        })
    };
    first_that(secrets, fits).ok_or(Refused::BadSignature)
}

/// What is signed of a form: names and values by name; of a field that is repeated, each value once, by value.
pub(super) fn fields(body: &[u8]) -> String {
    let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        fields.entry(name).or_default().insert(value);
    }
    let mut message = String::new();
    for (name, values) in &fields {
        for value in values {
            message.push_str(name);
            message.push_str(value);
        }
    }
    message
}

/// Twilio sometimes signs the address with its port and sometimes without, whatever it was told.
fn with_and_without_port(address: &str) -> [String; 2] {
    let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let other = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        Some(_) | None if scheme == "http" => format!("{authority}:80"),
        Some(_) | None => format!("{authority}:443"),
    };
    [address.to_owned(), format!("{scheme}://{other}{path}")]
}
