//! Tokens that let a web page listen to one conversation for a while.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, COOKIE};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::form_urlencoded;
use uuid::Uuid;

use crate::json;
use crate::platform::SESSION_SHAPE;
use crate::postgres::Database;
use crate::session::SessionName;
use crate::source::generated::find_or_make;

/// What the tokens are for.
const AUDIENCE: &str = "rejoinder/stream";

/// Under which name the key lies among the secrets that were made for sources; no source's file can have it.
const KEY_NAME: &str = AUDIENCE;

/// The cookie that holds one.
const TOKEN_COOKIE: &str = "rejoinder_stream";

/// For how long one counts when nothing is said, and at most, in seconds.
pub(crate) const SECONDS: u32 = 600;
pub(crate) const MOST_SECONDS: u32 = 86_400;

/// What cannot stand in the path of an address as it is; `/` can.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Makes tokens, and reads them, with a key that all replicas share.
pub(crate) struct StreamTokens {
    database: Database,
    /// Made once, and kept in the database.
    key: OnceCell<SecretString>,
}

/// A new token, as it is given out.
#[derive(Serialize)]
pub(crate) struct StreamToken {
    pub(crate) token: String,
    pub(crate) expires_at: DateTime<Utc>,
    /// Where it is listened with it, from the service's root.
    pub(crate) url: String,
}

/// What a token is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) session: SessionName,
    /// For how long.
    pub(crate) seconds: u32,
}

/// A token as a request shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// In the address, written by the page itself.
    Query(String),
    /// In a cookie, which a browser sends for whichever page asks.
    Cookie(String),
}

/// What a token claims.
#[derive(Deserialize, Serialize)]
struct Claims {
    /// The session's full name.
    sub: String,
    aud: String,
    iat: i64,
    /// Seconds since 1970.
    exp: i64,
    jti: Uuid,
}

/// What a token that is right lets its bearer do: listen to the one conversation that it was shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) token_id: Uuid,
    pub(super) until: DateTime<Utc>,
}

/// Why a token lets nobody listen, for the log: nothing that a stranger has written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("not a stream token that was made here")]
    Forged,
    #[error("a stream token that has expired")]
    Expired,
    #[error("a stream token of another session")]
    OtherSession,
    /// It cannot be judged.
    #[error("the key of stream tokens cannot be read: {0:#}")]
    NoKey(#[from] anyhow::Error),
}

/// A field of a request for a token that is not what it must be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub(super) struct BadField {
    pub(super) field: String,
    pub(super) found: String,
    pub(super) expected: String,
}

impl StreamTokens {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            key: OnceCell::new(),
        }
    }

    /// A token for one session, for so many seconds from now.
    ///
    /// # Errors
    /// When the database does not answer, before the key is known.
    pub(crate) async fn make(&self, wanted: &Wanted) -> anyhow::Result<StreamToken> {
        let now = self.now().trunc_subsecs(0);
        let expires_at = now + TimeDelta::seconds(wanted.seconds.into());
        let session = wanted.session.as_str();
        let claims = Claims {
            sub: session.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            jti: Uuid::new_v4(),
        };
        let key = EncodingKey::from_secret(self.key().await?.expose_secret().as_bytes());
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key)?;
        let path = utf8_percent_encode(session, NOT_IN_PATH);
        Ok(StreamToken {
            url: format!("/conversations/{path}/stream?token={token}"),
            token,
            expires_at,
        })
    }

    /// What a token lets its bearer do, where it was shown for `session`.
    pub(super) async fn read(&self, token: &str, session: &SessionName) -> Result<Right, Wrong> {
        let key = DecodingKey::from_secret(self.key().await?.expose_secret().as_bytes());
        let mut must = Validation::new(Algorithm::HS256);
        must.set_audience(&[AUDIENCE]);
        // By our own clock, below.
        must.validate_exp = false;
        let claims = decode::<Claims>(token, &key, &must).map_err(|_| Wrong::Forged)?.claims;
        let until = DateTime::from_timestamp(claims.exp, 0).ok_or(Wrong::Forged)?;
        if until <= self.now() {
            return Err(Wrong::Expired);
        }
        if claims.sub != session.as_str() {
            return Err(Wrong::OtherSession);
        }
        Ok(Right {
            token_id: claims.jti,
            until,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.database.clock().now()
    }

    async fn key(&self) -> anyhow::Result<&SecretString> {
        let make = || {
            self.database
                .within(find_or_make(self.database.conversations(), KEY_NAME))
        };
        self.key.get_or_try_init(make).await
    }
}

impl Shown {
    /// The token that a request shows. A caller who shows credentials is none whom a cookie speaks for.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        let query = form_urlencoded::parse(request.query_string().as_bytes());
        let mut tokens = query.filter(|(name, _)| name == "token");
        if let Some((_, token)) = tokens.next() {
            return Some(Self::Query(token.into_owned()));
        }
        let headers = request.headers();
        if headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let cookies = headers.get_all(COOKIE).filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';').filter_map(|pair| pair.trim().split_once('=')));
        let (_, token) = pairs.find(|(name, _)| *name == TOKEN_COOKIE)?;
        Some(Self::Cookie(token.to_owned()))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Query(token) | Self::Cookie(token) => token,
        }
    }
}

impl Wanted {
    /// Reads `{"session": "…", "seconds": 600}`, of which the seconds may be left out.
    pub(super) fn read(body: &[u8]) -> Result<Self, BadField> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| BadField::new("", json::without_place(&error), "a JSON object"))?;
        let Some(fields) = body.as_object() else {
            return Err(BadField::new("", json::kind(&body), "a JSON object"));
        };
        if let Some(name) = fields
            .keys()
            .find(|name| !["session", "seconds"].contains(&name.as_str()))
        {
            return Err(BadField::new(name, "a field of that name", "session or seconds"));
        }
        let session = fields.get("session").unwrap_or(&Value::Null);
        let found = session.as_str().and_then(|name| SessionName::parse(name).ok());
        let expected = format!("a session's full name, {SESSION_SHAPE}");
        let session = found.ok_or_else(|| BadField::new("session", session, expected))?;
        let seconds = match fields.get("seconds") {
            None => SECONDS,
            Some(seconds) => {
                let number = seconds.as_u64().and_then(|number| u32::try_from(number).ok());
                let number = number.filter(|number| (1..=MOST_SECONDS).contains(number));
                let expected = format!("a whole number from 1 to {MOST_SECONDS}");
                number.ok_or_else(|| BadField::new("seconds", seconds, expected))?
            }
        };
        Ok(Self { session, seconds })
    }
}

impl BadField {
    /// Of what was found 100 characters are told.
    fn new(field: &str, found: impl ToString, expected: impl Into<String>) -> Self {
        let short = |text: String| text.chars().take(100).collect();
        Self {
            field: short(field.to_owned()),
            found: short(found.to_string()),
            expected: expected.into(),
        }
    }
}
