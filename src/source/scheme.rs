//! How a source's requests are proven.

use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use url::Url;

use super::delivery::Delivery;
use super::file::SchemeTable;
use super::paypal::{Paypal, Trust};
use super::request::{FORM, Refused, Request, Window, media_type};
use super::secret::Secret;
use super::signed::Signed;
use super::surroundings::Surroundings;
use super::{standard, token, twilio};
use crate::auth::jwks::Jwks;
use crate::auth::jwt::{JwtCheck, Keys};
use crate::auth::token::Expected;

pub(super) enum Scheme {
    Standard,
    Signed(Signed),
    /// The address that Twilio was told to call.
    Twilio(String),
    Paypal(Paypal),
    Basic,
    Bearer,
    Jwt(Box<JwtCheck>),
    ClientState,
}

impl Scheme {
    /// As a file says it; `variable` is what a variable of the environment holds.
    pub(super) fn of(
        table: SchemeTable,
        surroundings: &Surroundings,
        variable: &mut dyn FnMut(&str) -> String,
    ) -> Result<Self, String> {
        Ok(match table {
            SchemeTable::StandardWebhooks {} => Self::Standard,
            SchemeTable::Stripe {} => Self::Signed(Signed::stripe()),
            SchemeTable::Github {} | SchemeTable::Meta {} => Self::Signed(Signed::hub()),
            SchemeTable::Shopify {} => Self::Signed(Signed::shopify()),
            SchemeTable::Slack {} => Self::Signed(Signed::slack()),
            SchemeTable::Zoom {} => Self::Signed(Signed::zoom()),
            SchemeTable::Square { url_env } => Self::Signed(Signed::square(variable(&url_env))),
            SchemeTable::Twilio { url_env } => Self::Twilio(variable(&url_env)),
            SchemeTable::Paypal {} => Self::Paypal(Paypal::new(surroundings.http.clone(), Trust::system())),
            SchemeTable::Hmac {
                header,
                prefix,
                encoding,
                algorithm,
                signed,
                timestamp,
            } => Self::Signed(Signed::described(
                &header, prefix, encoding, algorithm, &signed, timestamp,
            )?),
            SchemeTable::Basic {} => Self::Basic,
            SchemeTable::Bearer {} => Self::Bearer,
            SchemeTable::Msgraph {} => Self::ClientState,
            SchemeTable::Jwt {
                issuer,
                audience,
                jwks_url,
            } => Self::Jwt(Box::new(JwtCheck {
                expected: Expected {
                    clock: surroundings.clock.clone(),
                    issuers: issuer,
                    audiences: audience,
                    scopes: Vec::new(),
                },
                keys: match jwks_url {
                    Some(url) => Keys::Published(published(&url, surroundings)?),
                    None => Keys::Set,
                },
            })),
        })
    }

    /// Whether the body is part of the proof.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Self::Standard | Self::Signed(_) | Self::Twilio(_) | Self::Paypal(_) | Self::ClientState => true,
            Self::Basic | Self::Bearer | Self::Jwt(_) => false,
        }
    }

    /// A digest of what a signature covers: the same for all that one signature proves.
    pub(super) fn digest(&self, delivery: &Delivery<'_>) -> [u8; 32] {
        match self {
            // The fields may stand in any order, and their names end where one likes.
            Self::Twilio(_) if media_type(delivery.headers) == FORM => {
                Sha256::digest(twilio::fields(delivery.body)).into()
            }
            Self::Standard
            | Self::Signed(_)
            | Self::Twilio(_)
            | Self::Paypal(_)
            | Self::Basic
            | Self::Bearer
            | Self::Jwt(_)
            | Self::ClientState => Sha256::digest(delivery.body).into(),
        }
    }

    /// Which of the secrets proves the request.
    pub(super) async fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        window: &Window,
    ) -> Result<usize, Refused> {
        match self {
            Self::Standard => standard::verify(secrets, request, window),
            Self::Signed(signed) => signed.verify(secrets, request, window),
            Self::Twilio(url) => twilio::verify(secrets, url, request),
            Self::Paypal(paypal) => paypal.verify(secrets, request, window).await,
            Self::Basic => token::basic(secrets, request.headers),
            Self::Bearer => token::bearer(secrets, request.headers),
            Self::Jwt(check) => token::jwt(check, secrets, request.headers).await,
            Self::ClientState => token::client_state(secrets, request.body),
        }
    }
}

fn published(url: &str, surroundings: &Surroundings) -> Result<Jwks, String> {
    let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https");
    let parsed = parsed.ok_or_else(|| format!("jwks_url: found {url:?}, expected an https URL"))?;
    let keys = Jwks::new(parsed, surroundings.http.clone(), surroundings.clock.clone());
    if Handle::try_current().is_ok() {
        keys.fetch_in_background();
    }
    Ok(keys)
}
