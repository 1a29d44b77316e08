//! Who may call the turns door.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// The callers' settings; an empty value counts as not set.
///
/// Every secret has a twin that names a file. Setting and file hold one secret a line, and all of them are live,
/// so that a new secret can be handed out before the old one is withdrawn. Files are re-read when they change.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Callers (any configured method admits; none: loopback only)")]
pub struct AuthSettings {
    /// HTTP Basic: `user:password`, one a line; default: none
    #[arg(long, env = "AUTH_BASIC", value_parser = secret, hide_env_values = true, value_name = "USER:PASSWORD")]
    pub auth_basic: Option<SecretString>,

    /// File with one `user:password` a line, re-read when it changes; default: none
    #[arg(long, env = "AUTH_BASIC_FILE", value_parser = path, value_name = "PATH")]
    pub auth_basic_file: Option<PathBuf>,

    /// Opaque bearer tokens, one a line; default: none
    #[arg(long, env = "AUTH_BEARER", value_parser = secret, hide_env_values = true, value_name = "TOKEN")]
    pub auth_bearer: Option<SecretString>,

    /// File with one opaque bearer token a line, re-read when it changes; default: none
    #[arg(long, env = "AUTH_BEARER_FILE", value_parser = path, value_name = "PATH")]
    pub auth_bearer_file: Option<PathBuf>,

    /// Keys of JWT bearer tokens: HS256 secrets, one a line, or PEM public keys (RSA for RS256, P-256 for ES256);
    /// default: none
    #[arg(long, env = "AUTH_JWT_KEY", value_parser = secret, hide_env_values = true, value_name = "KEY")]
    pub auth_jwt_key: Option<SecretString>,

    /// File with HS256 secrets, one a line, or PEM public keys, re-read when it changes; default: none
    #[arg(long, env = "AUTH_JWT_KEY_FILE", value_parser = path, value_name = "PATH")]
    pub auth_jwt_key_file: Option<PathBuf>,

    /// Where the issuer publishes its keys (RS256, ES256), instead of AUTH_JWT_KEY: http(s) URL; default: none
    #[arg(long, env = "AUTH_JWT_JWKS_URL", hide_env_values = true, value_name = "URL")]
    pub auth_jwt_jwks_url: Option<String>,

    /// OAuth 2.0 issuer whose JWT access tokens are accepted, by the keys that its metadata names, instead of
    /// AUTH_JWT_KEY: https URL (http on loopback), as the issuer writes itself; default: none
    #[arg(long, env = "AUTH_OAUTH_ISSUER", value_name = "URL")]
    pub auth_oauth_issuer: Option<String>,

    /// Where the issuer is asked about opaque access tokens (RFC 7662): https URL (http on loopback); default: what the
    /// metadata of AUTH_OAUTH_ISSUER says, where a client is set
    #[arg(
        long,
        env = "AUTH_OAUTH_INTROSPECTION_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub auth_oauth_introspection_url: Option<String>,

    /// Id of the client as which the issuer is asked; default: none, and no opaque tokens
    #[arg(long, env = "AUTH_OAUTH_CLIENT_ID", value_name = "ID")]
    pub auth_oauth_client_id: Option<String>,

    /// Secret of that client; default: none
    #[arg(long, env = "AUTH_OAUTH_CLIENT_SECRET", value_parser = secret, hide_env_values = true, value_name = "SECRET")]
    pub auth_oauth_client_secret: Option<SecretString>,

    /// File with the secret of that client, re-read when it changes; default: none
    #[arg(long, env = "AUTH_OAUTH_CLIENT_SECRET_FILE", value_parser = path, value_name = "PATH")]
    pub auth_oauth_client_secret_file: Option<PathBuf>,

    /// Accepted `iss` of a JWT, comma separated; default: any
    #[arg(long, env = "AUTH_JWT_ISSUER", value_delimiter = ',', value_name = "ISSUER")]
    pub auth_jwt_issuer: Vec<String>,

    /// Accepted `aud` of a JWT or an opaque access token, comma separated; default: any, with a warning
    #[arg(long, env = "AUTH_JWT_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub auth_jwt_audience: Vec<String>,

    /// Scopes that a JWT or an opaque access token must have, all of them, space separated; default: none required
    #[arg(long, env = "AUTH_JWT_SCOPES", value_name = "SCOPES")]
    pub auth_jwt_scopes: Option<String>,

    /// Numbers (not ids) of the Google projects whose Dialogflow agents may call, comma separated digits; default: none
    #[arg(
        long,
        env = "AUTH_GOOGLE_PROJECT_NUMBER",
        value_delimiter = ',',
        value_name = "NUMBER"
    )]
    pub auth_google_project_number: Vec<String>,

    /// Where Google publishes the keys of its ID tokens: http(s) URL
    #[arg(long, env = "AUTH_GOOGLE_JWKS_URL", default_value = GOOGLE_JWKS_URL, value_name = "URL")]
    pub auth_google_jwks_url: String,

    /// Accepted `aud` of a Google ID token, comma separated; default: any, the first seen is logged
    #[arg(long, env = "AUTH_GOOGLE_AUDIENCE", value_delimiter = ',', value_name = "AUDIENCE")]
    pub auth_google_audience: Vec<String>,

    /// HMAC-SHA256 secrets for signed requests, one a line; default: none
    #[arg(long, env = "AUTH_HMAC_SECRET", value_parser = secret, hide_env_values = true, value_name = "SECRET")]
    pub auth_hmac_secret: Option<SecretString>,

    /// File with one HMAC-SHA256 secret a line, re-read when it changes; default: none
    #[arg(long, env = "AUTH_HMAC_SECRET_FILE", value_parser = path, value_name = "PATH")]
    pub auth_hmac_secret_file: Option<PathBuf>,
}

impl AuthSettings {
    /// Whether anybody is admitted by these.
    pub(super) fn has_method(&self) -> bool {
        let secrets = [
            &self.auth_basic,
            &self.auth_bearer,
            &self.auth_jwt_key,
            &self.auth_hmac_secret,
        ];
        let files = [
            &self.auth_basic_file,
            &self.auth_bearer_file,
            &self.auth_jwt_key_file,
            &self.auth_hmac_secret_file,
        ];
        secrets.into_iter().any(Option::is_some)
            || files.into_iter().any(Option::is_some)
            || self.auth_jwt_jwks_url.is_some()
            || self.auth_oauth_issuer.is_some()
            || self.auth_oauth_introspection_url.is_some()
            || !self.auth_google_project_number.is_empty()
    }
}

/// Google's own key set.
pub const GOOGLE_JWKS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

// Never fails: clap would print the refused value.
fn secret(value: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(value))
}

// Unlike clap's own parser this one takes an empty value, which an `.env` file may well hold.
fn path(value: &str) -> Result<PathBuf, Infallible> {
    Ok(PathBuf::from(value))
}
