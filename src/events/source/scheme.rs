//! How a source's requests are proven.

use super::paypal::Paypal;
use super::secret::Secret;
use super::signed::Signed;
use super::{Refused, Request, Window, standard, token, twilio};
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
