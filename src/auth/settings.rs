//! From settings to checks: what is set must make sense before the service starts.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use secrecy::SecretString;
use url::{Host, Url};

use super::google::GoogleCheck;
use super::jwks::Jwks;
use super::jwt::{JWT_KEY, JwtCheck};
use super::opaque::{BASIC, BEARER};
use super::secrets::{Exposure, Kind, Live};
use super::signature::{HMAC_SECRET, SignatureCheck};
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
    let jwt = jwt(settings, &secrets, &clock, &http)?;
    let google = google(settings, &clock, &http)?;
    let mut challenges = Vec::new();
    if secrets.basic.is_configured() {
        challenges.push(HeaderValue::from_static(r#"Basic realm="rejoinder", charset="UTF-8""#));
    }
    if secrets.bearer.is_configured() || jwt.is_some() || google.is_some() {
        challenges.push(HeaderValue::from_static(r#"Bearer realm="rejoinder""#));
    }
    if secrets.hmac.is_configured() {
        challenges.push(HeaderValue::from_static(r#"HMAC-SHA256 realm="rejoinder""#));
    }
    Ok(Auth {
        secrets: Arc::new(secrets),
        jwt,
        google,
        signatures: SignatureCheck::new(clock),
        challenges,
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
        hmac: live(
            HMAC_SECRET,
            exposure,
            &settings.auth_hmac_secret,
            &settings.auth_hmac_secret_file,
        )?,
    })
}

fn jwt(
    settings: &AuthSettings,
    secrets: &Secrets,
    clock: &Clock,
    http: &reqwest::Client,
) -> Result<Option<JwtCheck>, AuthConfigError> {
    let issuers = filled(&settings.auth_jwt_issuer);
    let audiences = filled(&settings.auth_jwt_audience);
    let scopes: Vec<String> = settings
        .auth_jwt_scopes
        .iter()
        .flat_map(|scopes| scopes.split_whitespace())
        .map(str::to_owned)
        .collect();
    let url = settings
        .auth_jwt_jwks_url
        .as_deref()
        .map(str::trim)
        .filter(|url| !url.is_empty());

    let published = match (url, secrets.jwt_keys.is_configured()) {
        (Some(url), true) => {
            return Err(AuthConfigError {
                setting: "AUTH_JWT_JWKS_URL".into(),
                wrong: format!("{} is set beside AUTH_JWT_KEY or AUTH_JWT_KEY_FILE", public(url)),
                expected: "either keys or the URL where they are published",
            });
        }
        (Some(url), false) => Some(Jwks::new(
            jwks_url("AUTH_JWT_JWKS_URL", url)?,
            http.clone(),
            clock.clone(),
        )),
        (None, true) => None,
        (None, false) => {
            let rules = [
                ("AUTH_JWT_ISSUER", &issuers),
                ("AUTH_JWT_AUDIENCE", &audiences),
                ("AUTH_JWT_SCOPES", &scopes),
            ];
            return match rules.into_iter().find(|(_, values)| !values.is_empty()) {
                None => Ok(None),
                Some((setting, values)) => Err(AuthConfigError {
                    setting: setting.into(),
                    wrong: format!("{values:?} is set without a key"),
                    expected: "AUTH_JWT_KEY, AUTH_JWT_KEY_FILE or AUTH_JWT_JWKS_URL beside it",
                }),
            };
        }
    };
    if audiences.is_empty() {
        tracing::warn!("AUTH_JWT_AUDIENCE is not set: tokens that the issuer made for other services are let in too");
    }
    if published.is_some() && issuers.is_empty() {
        tracing::warn!("AUTH_JWT_ISSUER is not set: the `iss` of a JWT is not checked");
    }
    Ok(Some(JwtCheck {
        clock: clock.clone(),
        issuers,
        audiences,
        scopes,
        published,
    }))
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

fn jwks_url(setting: &'static str, text: &str) -> Result<Url, AuthConfigError> {
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
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => tracing::warn!(
            setting,
            "keys are fetched over plain http: whoever can change them on the way can call"
        ),
        other => return Err(wrong(&format!("has the scheme {other:?}"))),
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
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
