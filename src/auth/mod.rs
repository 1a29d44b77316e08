//! Who is calling: every configured method may admit a call, and a refusal never says which part was wrong.
//!
//! | method | the caller sends |
//! |---|---|
//! | Basic | `Authorization: Basic …`, user and password |
//! | bearer | `Authorization: Bearer …`, an opaque token |
//! | JWT | `Authorization: Bearer …`, a token of the operator's issuer (HS256, RS256 or ES256) |
//! | OAuth | `Authorization: Bearer …`, a token that its issuer is asked about |
//! | Google | `Authorization: Bearer …`, the service identity token of a Dialogflow agent |
//! | HMAC | a signature of the time and the body, see [`signature`] |
//!
//! A client's certificate, which comes with the connection and not with the call, is judged in `tls`.

mod google;
mod introspection;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod jwt;
mod opaque;
pub(crate) mod published;
pub(crate) mod secrets;
mod settings;
pub mod signature;
pub(crate) mod token;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::auth::AuthSettings;
use google::GoogleCheck;
use introspection::Introspection;
use jwt::{JwtCheck, Keys};
pub use secrets::Exposure;
use secrets::Live;
use signature::SignatureCheck;
use token::Token;

/// The door-keeper of the turns door.
#[derive(Debug)]
pub struct Auth {
    secrets: Arc<Secrets>,
    jwt: Option<JwtCheck>,
    google: Option<GoogleCheck>,
    introspection: Option<Introspection>,
    signatures: SignatureCheck,
    challenges: Vec<HeaderValue>,
    takes_certificates: bool,
}

/// A caller who was let in, as the log may know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Anybody: no method is configured.
    Open,
    /// Showed a user's password.
    Basic {
        /// The user's name.
        user: String,
    },
    /// Showed an opaque bearer token.
    Bearer,
    /// Showed a JWT.
    Jwt {
        /// Its `sub`.
        subject: Option<String>,
        /// Its `iss`.
        issuer: Option<String>,
    },
    /// Showed a token that its issuer calls active.
    Introspected {
        /// Its `sub`.
        subject: Option<String>,
        /// Its `client_id`.
        client: Option<String>,
    },
    /// A Dialogflow agent, by its Google service identity.
    Google {
        /// The service agent's address.
        email: String,
    },
    /// Signed the request.
    Hmac,
    /// Showed a client's certificate when it connected.
    Certificate {
        /// The name by which it is admitted.
        name: String,
    },
}

/// A caller who was not let in; why exactly is logged here and told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The call has no credentials of a configured method (401).
    #[error("no credentials")]
    NoCredentials,
    /// No configured method takes the call's credentials (401).
    #[error("credentials refused")]
    Rejected,
    /// The credentials cannot be judged: the issuer's keys cannot be fetched and none are kept, or it cannot be asked (503,
    /// try again in 10 s).
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
}

/// A caller who was not let in, and why.
#[derive(Debug)]
pub(crate) struct NotAdmitted {
    /// What it is told.
    pub(crate) refused: Refused,
    /// Why each method refused, for the log: holds parts of claims, never a token or a secret.
    pub(crate) reasons: String,
}

/// A setting that stops the start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {wrong}; expected {expected}")]
pub struct AuthConfigError {
    setting: Cow<'static, str>,
    wrong: String,
    expected: &'static str,
}

/// Why one method refused, for the log: holds parts of claims, never a token or a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Why {
    #[error("not one of the live secrets")]
    NotLive,
    #[error("not a usable token: {0}")]
    NotAToken(String),
    #[error("algorithm {0:?} is not accepted")]
    Algorithm(jsonwebtoken::Algorithm),
    #[error("no {algorithm:?} key fits, key id {kid:?}")]
    NoKey {
        algorithm: jsonwebtoken::Algorithm,
        kid: Option<String>,
    },
    #[error("the signature is wrong")]
    Signature,
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    #[error("the issuer cannot be asked: {0}")]
    NotJudged(String),
    #[error("the issuer says that it is not active")]
    NotActive,
    #[error("expired {seconds_ago} s ago")]
    Expired { seconds_ago: i64 },
    #[error("valid in {seconds_left} s only")]
    NotYetValid { seconds_left: i64 },
    #[error("expires more than {days} days from now")]
    Lifetime { days: i64 },
    #[error("issuer {0:?}")]
    Issuer(Option<String>),
    #[error("audience {0}")]
    Audience(String),
    #[error("scope {0:?} is missing")]
    Scope(String),
    #[error("e-mail {0:?}")]
    Email(Option<String>),
    #[error("e-mail is not verified")]
    EmailNotVerified,
    #[error("the timestamp header is missing or no number of seconds")]
    Timestamp,
    #[error("signed {late_by} s ago, outside the window")]
    Window { late_by: i64 },
    #[error("the same request was admitted before")]
    Replay,
}

#[derive(Debug)]
struct Secrets {
    basic: Live<opaque::Fingerprint>,
    bearer: Live<opaque::Fingerprint>,
    jwt_keys: Live<token::TokenKey>,
    client: Live<Arc<str>>,
    hmac: Live<signature::HmacKey>,
}

impl Auth {
    /// Reads the secrets and, inside a tokio runtime, starts to watch their files and fetches published keys.
    ///
    /// The watch ends when the value is dropped. Outside of a runtime files are re-read by [`Auth::reload`] only.
    ///
    /// # Errors
    /// When a setting is wrong, contradicts another one, or names a file that cannot be used, or a secret could be
    /// guessed by those who can try.
    pub fn new(
        settings: &AuthSettings,
        exposure: Exposure,
        clock: Clock,
        http: reqwest::Client,
    ) -> Result<Self, AuthConfigError> {
        let auth = settings::read(settings, exposure, clock, http)?;
        if let Ok(runtime) = Handle::try_current() {
            if auth.secrets.has_files() {
                secrets::watch(&runtime, &auth.secrets, Secrets::poll);
            }
            match auth.jwt.as_ref().map(|jwt| &jwt.keys) {
                Some(Keys::Published(published)) => published.fetch_in_background(),
                Some(Keys::Issuer(_) | Keys::Set) | None => {}
            }
            auth.google
                .iter()
                .for_each(|google| google.keys().fetch_in_background());
        }
        Ok(auth)
    }

    /// Lets everybody in, for a service that listens on loopback only.
    pub fn open() -> Self {
        let secrets = Secrets {
            basic: Live::none(opaque::BASIC),
            bearer: Live::none(opaque::BEARER),
            jwt_keys: Live::none(jwt::JWT_KEY),
            client: Live::none(introspection::CLIENT_SECRET),
            hmac: Live::none(signature::HMAC_SECRET),
        };
        let signatures = SignatureCheck::new(Clock::system());
        Self {
            secrets: Arc::new(secrets),
            jwt: None,
            google: None,
            introspection: None,
            signatures,
            challenges: Vec::new(),
            takes_certificates: false,
        }
    }

    /// The same, where certificates of clients may admit a call, too.
    pub(crate) fn beside_certificates(mut self, taken: bool) -> Self {
        self.takes_certificates = taken;
        self
    }

    /// Whether no method is configured, so that everybody is let in.
    pub fn is_open(&self) -> bool {
        self.challenges.is_empty() && !self.takes_certificates
    }

    /// Whether [`admit`](Auth::admit) will look at the body; if not, a caller can be refused before the body is read.
    pub fn needs_body(&self, headers: &HeaderMap) -> bool {
        self.secrets.hmac.is_configured() && SignatureCheck::is_signed(headers)
    }

    /// Lets a caller in when any configured method does; `body` is the body byte for byte as it was sent.
    ///
    /// Waits for an issuer only when its keys have to be fetched or it has to be asked about the token: for each document
    /// that has to be fetched and each question, two seconds at most. A signed request is admitted once: asking a second time refuses it.
    ///
    /// # Errors
    /// When no method admits the call.
    pub async fn admit(&self, headers: &HeaderMap, body: &[u8]) -> Result<Caller, Refused> {
        self.judge(headers, body).await.map_err(|not| not.refused)
    }

    /// As [`Auth::admit`]; who is not admitted learns nothing of why, and the log does.
    pub(crate) async fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Result<Caller, NotAdmitted> {
        if self.is_open() {
            return Ok(Caller::Open);
        }
        let mut refusals = Vec::new();
        if let Some(caller) = self.admit_shown(headers, &mut refusals).await {
            return Ok(caller);
        }
        if self.needs_body(headers) {
            match self.signatures.check(&self.secrets.hmac.current(), headers, body).await {
                Ok(()) => return Ok(Caller::Hmac),
                Err(why) => refusals.push(("hmac", why)),
            }
        }
        Err(NotAdmitted::for_all(&refusals))
    }

    /// Whether a caller without a body that was admitted with these headers would be proven by them now: its secret is
    /// live, its token in force. That a signature has been seen, or was made a while ago, does not matter.
    pub async fn still_admits(&self, headers: &HeaderMap) -> bool {
        if self.is_open() || self.admit_shown(headers, &mut Vec::new()).await.is_some() {
            return true;
        }
        self.needs_body(headers) && signature::proves(&self.secrets.hmac.current(), headers, b"")
    }

    /// The values of `WWW-Authenticate` that a 401 carries (RFC 9110, 11.6.1): one for each scheme that is taken.
    pub fn challenges(&self) -> &[HeaderValue] {
        &self.challenges
    }

    /// Reads the secret files now; a file that has become unusable leaves the old secrets live.
    ///
    /// Blocks while it reads.
    pub fn reload(&self) {
        self.secrets.reload();
    }

    /// Lets in a caller that shows its credentials.
    async fn admit_shown(&self, headers: &HeaderMap, refusals: &mut Vec<(&'static str, Why)>) -> Option<Caller> {
        let (scheme, credentials) = authorization(headers)?;
        if scheme.eq_ignore_ascii_case("basic") && self.secrets.basic.is_configured() {
            match opaque::basic_user(&self.secrets.basic.current(), credentials) {
                Some(user) => return Some(Caller::Basic { user }),
                None => refusals.push(("basic", Why::NotLive)),
            }
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.admit_bearer(credentials, refusals).await;
        }
        None
    }

    async fn admit_bearer(&self, credentials: &str, refusals: &mut Vec<(&'static str, Why)>) -> Option<Caller> {
        if self.secrets.bearer.is_configured() {
            if opaque::is_live(&self.secrets.bearer.current(), credentials.as_bytes()) {
                return Some(Caller::Bearer);
            }
            refusals.push(("bearer", Why::NotLive));
        }
        let token = Token::parse(credentials);
        match &token {
            Ok(token) => {
                if let Some(jwt) = &self.jwt {
                    match jwt.check(token, &self.secrets.jwt_keys.current()).await {
                        Ok(caller) => return Some(caller),
                        Err(why) => refusals.push(("jwt", why)),
                    }
                }
                if let Some(google) = &self.google {
                    match google.check(token).await {
                        Ok(caller) => return Some(caller),
                        Err(why) => refusals.push(("google", why)),
                    }
                }
            }
            Err(why) if self.jwt.is_some() || self.google.is_some() => refusals.push(("jwt", why.clone())),
            Err(_) => {}
        }
        if let Some(introspection) = &self.introspection
            && !token.is_ok_and(|token| self.is_judged_here(&token))
        {
            match introspection.check(credentials, &self.secrets.client.current()).await {
                Ok(caller) => return Some(caller),
                Err(why) => refusals.push(("introspection", why)),
            }
        }
        None
    }

    /// Whether the token is a JWT of the issuer whose keys are known here: there is nothing to ask about it.
    fn is_judged_here(&self, token: &Token<'_>) -> bool {
        let jwt = self.jwt.as_ref();
        jwt.is_some_and(|jwt| jwt.expected.is_of_issuer(&token.claims))
    }
}

impl Why {
    /// Whether nothing is known of the credentials: they may be good.
    fn is_unavailable(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::NotJudged(_))
    }
}

impl Caller {
    /// The method that let the caller in: `open`, `basic`, `bearer`, `jwt`, `introspection`, `google`, `hmac` or `certificate`.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Basic { .. } => "basic",
            Self::Bearer => "bearer",
            Self::Jwt { .. } => "jwt",
            Self::Introspected { .. } => "introspection",
            Self::Google { .. } => "google",
            Self::Hmac => "hmac",
            Self::Certificate { .. } => "certificate",
        }
    }
}

impl Secrets {
    fn poll(&self) {
        self.basic.poll();
        self.bearer.poll();
        self.jwt_keys.poll();
        self.client.poll();
        self.hmac.poll();
    }

    fn reload(&self) {
        self.basic.reload();
        self.bearer.reload();
        self.jwt_keys.reload();
        self.client.reload();
        self.hmac.reload();
    }

    fn has_files(&self) -> bool {
        self.basic.has_file()
            || self.bearer.has_file()
            || self.jwt_keys.has_file()
            || self.client.has_file()
            || self.hmac.has_file()
    }
}

/// Scheme and credentials of the `Authorization` header, if it has both.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some((scheme, credentials.trim()))
}

impl NotAdmitted {
    fn for_all(refusals: &[(&'static str, Why)]) -> Self {
        let reasons: Vec<String> = refusals
            .iter()
            .map(|(method, why)| format!("{method}: {why}"))
            .collect();
        let is_unknown = |(_, why): &(_, Why)| why.is_unavailable();
        let (refused, reasons) = match refusals {
            [] => (
                Refused::NoCredentials,
                "no credentials of a configured method".to_owned(),
            ),
            _ if refusals.iter().any(is_unknown) => (Refused::KeysUnavailable, reasons.join("; ")),
            _ => (Refused::Rejected, reasons.join("; ")),
        };
        Self { refused, reasons }
    }
}
