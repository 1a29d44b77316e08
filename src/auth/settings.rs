//! From settings to checks: what is set must make sense before the service starts.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use secrecy::SecretString;
use url::Url;

use super::google::GoogleCheck;
use super::introspection::{CLIENT_SECRET, Endpoint, Introspection};
use super::issuer::{Issuer, is_trusted};
use super::jwks::Jwks;
use super::jwt::{JWT_KEY, JwtCheck, Keys};
use super::opaque::{BASIC, BEARER};
use super::secrets::{Exposure, Kind, Live};
use super::signature::{HMAC_SECRET, SignatureCheck};
use super::token::Expected;
use super::{Auth, AuthConfigError, Secrets};
use crate::clock::Clock;
use crate::config::auth::{AuthSettings, GOOGLE_JWKS_URL};

const URL_EXPECTED: &str = "an https or http URL without user and password";

/// Reads all settings; fetches nothing.
pub(super) fn read(
    settings: &AuthSettings,
    exposure: Exposure,
    clock: Clock,
    http: reqwest::Client,
) -> Result<Auth, AuthConfigError> {
    let secrets = secrets(settings, exposure)?;
    let issuer = issuer(settings, &secrets, &clock, &http)?;
    let expected = Expected {
        clock: clock.clone(),
        issuers: issuers(settings),
        audiences: filled(&settings.auth_jwt_audience),
        scopes: scopes(settings),
    };
    let jwt = jwt(settings, &secrets, &expected, issuer.as_ref(), &http)?;
    let introspection = introspection(settings, &secrets, &expected, issuer, &http)?;
    if jwt.is_none() && introspection.is_none() {
        expect_nothing(&expected)?;
    } else if expected.audiences.is_empty() {
        tracing::warn!("AUTH_JWT_AUDIENCE is not set: tokens that the issuer made for other services are let in too");
    }
    let google = google(settings, &clock, &http)?;
    let mut challenges = Vec::new();
    if secrets.basic.is_configured() {
        challenges.push(HeaderValue::from_static(r#"Basic realm="rejoinder", charset="UTF-8""#));
    }
    if secrets.bearer.is_configured() || jwt.is_some() || introspection.is_some() || google.is_some() {
        challenges.push(HeaderValue::from_static(r#"Bearer realm="rejoinder""#));
    }
    if secrets.hmac.is_configured() {
        challenges.push(HeaderValue::from_static(r#"HMAC-SHA256 realm="rejoinder""#));
    }
    Ok(Auth {
        secrets: Arc::new(secrets),
        jwt,
        google,
        introspection,
        signatures: SignatureCheck::new(clock),
        challenges,
        takes_certificates: false,
    })
}

fn secrets(settings: &AuthSettings, exposure: Exposure) -> Result<Secrets, AuthConfigError> {
    fn live<T: Clone>(
        kind: Kind<T>,
        exposure: Exposure,
        inline: &Option<SecretString>,
        file: &Option<std::path::PathBuf>,
    ) -> Result<Live<T>, AuthConfigError> {
        Live::read(kind, inline.as_ref(), file.as_deref(), exposure)
    }
    Ok(Secrets {
        basic: live(BASIC, exposure, &settings.auth_basic, &settings.auth_basic_file)?,
        bearer: live(BEARER, exposure, &settings.auth_bearer, &settings.auth_bearer_file)?,
        jwt_keys: live(JWT_KEY, exposure, &settings.auth_jwt_key, &settings.auth_jwt_key_file)?,
        client: live(
            CLIENT_SECRET,
            exposure,
            &settings.auth_oauth_client_secret,
            &settings.auth_oauth_client_secret_file,
        )?,
        hmac: live(
            HMAC_SECRET,
            exposure,
            &settings.auth_hmac_secret,
            &settings.auth_hmac_secret_file,
        )?,
    })
}

/// Whose tokens are accepted: those of the OAuth issuer, or of any that is listed.
fn issuers(settings: &AuthSettings) -> Vec<String> {
    match text(&settings.auth_oauth_issuer) {
        Some(issuer) => vec![issuer.to_owned()],
        None => filled(&settings.auth_jwt_issuer),
    }
}

fn scopes(settings: &AuthSettings) -> Vec<String> {
    let scopes = settings.auth_jwt_scopes.iter();
    scopes
        .flat_map(|scopes| scopes.split_whitespace())
        .map(str::to_owned)
        .collect()
}

/// The issuer whose metadata says where its keys are.
fn issuer(
    settings: &AuthSettings,
    secrets: &Secrets,
    clock: &Clock,
    http: &reqwest::Client,
) -> Result<Option<Arc<Issuer>>, AuthConfigError> {
    const SETTING: &str = "AUTH_OAUTH_ISSUER";
    let Some(issuer) = text(&settings.auth_oauth_issuer) else {
        return Ok(None);
    };
    let others = [
        ("AUTH_JWT_KEY or AUTH_JWT_KEY_FILE", secrets.jwt_keys.is_configured()),
        ("AUTH_JWT_JWKS_URL", text(&settings.auth_jwt_jwks_url).is_some()),
        ("AUTH_JWT_ISSUER", !filled(&settings.auth_jwt_issuer).is_empty()),
    ];
    if let Some((other, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
        return Err(AuthConfigError {
            setting: SETTING.into(),
            wrong: format!("{} is set beside {other}", public(issuer)),
            expected: "either an issuer that says where its keys are, or the keys and whose they are",
        });
    }
    let url = trusted_url(SETTING, issuer)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AuthConfigError {
            setting: SETTING.into(),
            wrong: format!("{} has a query or a fragment", public(issuer)),
            // RFC 8414, 2.
            expected: "an https URL without them, as the issuer writes itself",
        });
    }
    let issuer = Issuer::new(url, issuer.to_owned(), http.clone(), clock.clone());
    Ok(Some(Arc::new(issuer)))
}

fn jwt(
    settings: &AuthSettings,
    secrets: &Secrets,
    expected: &Expected,
    issuer: Option<&Arc<Issuer>>,
    http: &reqwest::Client,
) -> Result<Option<JwtCheck>, AuthConfigError> {
    let keys = match (text(&settings.auth_jwt_jwks_url), secrets.jwt_keys.is_configured()) {
        (Some(url), true) => {
            return Err(AuthConfigError {
                setting: "AUTH_JWT_JWKS_URL".into(),
                wrong: format!("{} is set beside AUTH_JWT_KEY or AUTH_JWT_KEY_FILE", public(url)),
                expected: "either keys or the URL where they are published",
            });
        }
        (Some(url), false) => {
            let url = jwks_url("AUTH_JWT_JWKS_URL", url)?;
            Keys::Published(Jwks::new(url, http.clone(), expected.clock.clone()))
        }
        (None, true) => Keys::Set,
        (None, false) => match issuer {
            Some(issuer) => Keys::Issuer(Arc::clone(issuer)),
            None => return Ok(None),
        },
    };
    if matches!(keys, Keys::Published(_)) && expected.issuers.is_empty() {
        tracing::warn!("AUTH_JWT_ISSUER is not set: the `iss` of a JWT is not checked");
    }
    Ok(Some(JwtCheck {
        expected: expected.clone(),
        keys,
    }))
}

/// Of opaque tokens, where there is a client as which their issuer can be asked.
fn introspection(
    settings: &AuthSettings,
    secrets: &Secrets,
    expected: &Expected,
    issuer: Option<Arc<Issuer>>,
    http: &reqwest::Client,
) -> Result<Option<Introspection>, AuthConfigError> {
    let url = text(&settings.auth_oauth_introspection_url);
    let client_id = text(&settings.auth_oauth_client_id);
    let set = [
        ("AUTH_OAUTH_CLIENT_ID", client_id.is_some()),
        ("AUTH_OAUTH_CLIENT_SECRET", secrets.client.is_configured()),
        ("AUTH_OAUTH_INTROSPECTION_URL", url.is_some()),
    ];
    let endpoint = match (url, issuer) {
        (Some(url), _) => Some(Endpoint::Set(trusted_url("AUTH_OAUTH_INTROSPECTION_URL", url)?)),
        (None, Some(issuer)) => Some(Endpoint::Issuer(issuer)),
        (None, None) => None,
    };
    let (Some(endpoint), Some(client_id), true) = (endpoint, client_id, secrets.client.is_configured()) else {
        return match set.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(None),
            Some((setting, _)) => Err(AuthConfigError {
                setting: setting.into(),
                wrong: "is set without all that it takes to ask an issuer".to_owned(),
                expected: "AUTH_OAUTH_CLIENT_ID, AUTH_OAUTH_CLIENT_SECRET (or its file), and AUTH_OAUTH_INTROSPECTION_URL \
                           or AUTH_OAUTH_ISSUER",
            }),
        };
    };
    let (expected, client_id) = (expected.clone(), client_id.to_owned());
    Ok(Some(Introspection::new(expected, endpoint, client_id, http.clone())))
}

/// What a token must be is set, and nothing takes tokens.
fn expect_nothing(expected: &Expected) -> Result<(), AuthConfigError> {
    let rules = [
        ("AUTH_JWT_ISSUER", &expected.issuers),
        ("AUTH_JWT_AUDIENCE", &expected.audiences),
        ("AUTH_JWT_SCOPES", &expected.scopes),
    ];
    match rules.into_iter().find(|(_, values)| !values.is_empty()) {
        None => Ok(()),
        Some((setting, values)) => Err(AuthConfigError {
            setting: setting.into(),
            wrong: format!("{values:?} is set without a key"),
            expected: "AUTH_JWT_KEY, AUTH_JWT_KEY_FILE, AUTH_JWT_JWKS_URL or AUTH_OAUTH_ISSUER beside it",
        }),
    }
}

fn google(
    settings: &AuthSettings,
    clock: &Clock,
    http: &reqwest::Client,
) -> Result<Option<GoogleCheck>, AuthConfigError> {
    let numbers = filled(&settings.auth_google_project_number);
    let audiences = filled(&settings.auth_google_audience);
    if numbers.is_empty() {
        if audiences.is_empty() {
            return Ok(None);
        }
        return Err(AuthConfigError {
            setting: "AUTH_GOOGLE_AUDIENCE".into(),
            wrong: format!("{audiences:?} is set without AUTH_GOOGLE_PROJECT_NUMBER"),
            expected: "the number of the agent's Google project beside it",
        });
    }
    if let Some(wrong) = numbers
        .iter()
        .find(|number| !number.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(AuthConfigError {
            setting: "AUTH_GOOGLE_PROJECT_NUMBER".into(),
            wrong: format!("{wrong:?} is not a number"),
            expected: "project numbers (not ids), such as 123456789012, comma separated",
        });
    }
    let url = Some(settings.auth_google_jwks_url.trim())
        .filter(|url| !url.is_empty())
        .unwrap_or(GOOGLE_JWKS_URL);
    let published = Jwks::new(jwks_url("AUTH_GOOGLE_JWKS_URL", url)?, http.clone(), clock.clone());
    Ok(Some(GoogleCheck::new(clock.clone(), &numbers, audiences, published)))
}

/// Where keys are published: one that somebody on the way can change is warned of.
fn jwks_url(setting: &'static str, text: &str) -> Result<Url, AuthConfigError> {
    let url = url(setting, text)?;
    if !is_trusted(&url) {
        tracing::warn!(
            setting,
            "keys are fetched over plain http: whoever can change them on the way can call"
        );
    }
    Ok(url)
}

/// Where an issuer is: one that somebody on the way could pose as is refused.
fn trusted_url(setting: &'static str, text: &str) -> Result<Url, AuthConfigError> {
    let url = url(setting, text)?;
    if is_trusted(&url) {
        return Ok(url);
    }
    Err(AuthConfigError {
        setting: setting.into(),
        wrong: format!("{} is plain http", public(text)),
        expected: "an https URL, or http on loopback",
    })
}

fn url(setting: &'static str, text: &str) -> Result<Url, AuthConfigError> {
    let wrong = |why: &str| AuthConfigError {
        setting: setting.into(),
        wrong: format!("{} {why}", public(text)),
        expected: URL_EXPECTED,
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or a password"));
    }
    match url.scheme() {
        "https" | "http" => Ok(url),
        other => Err(wrong(&format!("has the scheme {other:?}"))),
    }
}

/// The value of a setting that holds something.
fn text(setting: &Option<String>) -> Option<&str> {
    setting.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

/// A URL as an error may show it: no user, password or query.
fn public(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        (_, None) => text.to_owned(),
    }
}

/// The values of a list setting that hold something.
fn filled(values: &[String]) -> Vec<String> {
    values
        .iter()
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect()
}
