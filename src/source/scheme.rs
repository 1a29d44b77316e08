//! How a source's requests are proven.

use actix_web::http::header::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::paypal::Paypal;
use super::request::{FORM, Refused, Request, Window, media_type};
use super::secret::Secret;
use super::signed::Signed;
use super::{standard, token, twilio};
use crate::auth::jwt::JwtCheck;

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
    /// Whether the body is part of the proof.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Self::Standard | Self::Signed(_) | Self::Twilio(_) | Self::Paypal(_) | Self::ClientState => true,
            Self::Basic | Self::Bearer | Self::Jwt(_) => false,
        }
    }

    /// A digest of what a signature covers: the same for all requests that one signature proves.
    pub(super) fn digest(&self, headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
        match self {
            // The fields may stand in any order, and their names end where one likes.
            Self::Twilio(_) if media_type(headers) == FORM => Sha256::digest(twilio::fields(body)).into(),
            Self::Standard
            | Self::Signed(_)
            | Self::Twilio(_)
            | Self::Paypal(_)
            | Self::Basic
            | Self::Bearer
            | Self::Jwt(_)
            | Self::ClientState => Sha256::digest(body).into(),
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
