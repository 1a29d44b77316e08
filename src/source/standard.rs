//! Standard Webhooks (standardwebhooks.com), also with the older names of its headers, `svix-…`.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::Choice;

use super::request::{Refused, Request, Window, text};
use super::secret::{Secret, first_that};
use super::signed::{Algorithm, MAX_SIGNATURES, one_of};

const NAMES: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];

/// Which of the secrets has signed the request: `v1` by HMAC-SHA256, `v1a` by Ed25519.
pub(super) fn verify(secrets: &[Secret], request: &Request<'_>, window: &Window) -> Result<usize, Refused> {
    let used = NAMES.iter().find(|names| request.headers.contains_key(names[2]));
    let [id, timestamp, signature] = *used.unwrap_or(&NAMES[0]);
    let header = |name: &str| text(request.headers, name).ok_or_else(|| Refused::Missing(name.to_owned()));
    let (id, timestamp, signature) = (header(id)?, header(timestamp)?, header(signature)?);
    window.check(timestamp)?;
    // The parts are separated by full stops: an id that holds one would make it unclear what was signed.
    if id.contains('.') {
        return Err(Refused::BadSignature);
    }
    let presented = |version: &str| -> Vec<Vec<u8>> {
        signature
            .split(' ')
            .filter_map(|part| part.strip_prefix(version)?.strip_prefix(','))
            .filter_map(|digits| STANDARD.decode(digits).ok())
            .take(MAX_SIGNATURES)
            .collect()
    };
    let (macs, signatures) = (presented("v1"), presented("v1a"));
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body];
    let fits = |secret: &Secret| match secret {
        Secret::Shared(key) => one_of(&macs, &Algorithm::Sha256.mac(key, &message)),
        Secret::PublicKey(key) => {
            let (key, message) = (UnparsedPublicKey::new(&ED25519, key), message.concat());
            let proven = signatures
                .iter()
                .any(|signature| key.verify(&message, signature).is_ok());
            Choice::from(u8::from(proven))
        }
        Secret::Jwt(_) => Choice::from(0),
    };
    first_that(secrets, fits).ok_or(Refused::BadSignature)
}

/// The headers of a request that is signed with `key` at `now`, in seconds since 1970.
pub(super) fn sign(key: &[u8], id: &str, now: i64, body: &[u8]) -> [(&'static str, String); 3] {
    let timestamp = now.to_string();
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let signature = STANDARD.encode(Algorithm::Sha256.mac(key, &message));
    let [id_name, timestamp_name, signature_name] = NAMES[0];
    [
        (id_name, id.to_owned()),
        (timestamp_name, timestamp),
        (signature_name, format!("v1,{signature}")),
    ]
}
