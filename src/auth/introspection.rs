//! Opaque access tokens: their issuer says whether they are good (RFC 7662), and is asked once a minute at most.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use moka::future::Cache;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};

use super::issuer::{Issuer, client_basic};
use super::published::{FETCH_LIMIT, body};
use super::secrets::{Kind, lines};
use super::token::{Claims, Expected, MAX_TOKEN_BYTES};
use super::{Caller, Why};

/// How long the issuer's word counts: that a token is good, that it is not, and that it could not be asked; in seconds.
const GOOD_SECONDS: i64 = 60;
const REFUSED_SECONDS: i64 = 5;
const NOT_JUDGED_SECONDS: i64 = 2;

/// Tokens whose verdict is remembered at most.
const MAX_VERDICTS: u64 = 10_000;

/// Tokens that the issuer is asked about at a time, at most.
const MAX_ASKED: usize = 32;

/// AUTH_OAUTH_CLIENT_SECRET and AUTH_OAUTH_CLIENT_SECRET_FILE.
pub(super) const CLIENT_SECRET: Kind<Arc<str>> = Kind {
    setting: Cow::Borrowed("AUTH_OAUTH_CLIENT_SECRET"),
    file_setting: Cow::Borrowed("AUTH_OAUTH_CLIENT_SECRET_FILE"),
    expected: "the secret that the issuer has given this client, on one line",
    // How strong it is, is the issuer's to say.
    least_bytes: 0,
    lengths: |_| Vec::new(),
    parse: |text| Ok(lines(text).map(|(_, line)| line.into()).collect()),
};

/// Has an issuer judge tokens.
pub(super) struct Introspection {
    expected: Expected,
    endpoint: Endpoint,
    client_id: String,
    http: Client,
    /// A place for each question.
    places: Semaphore,
    /// What came of asking, by the SHA-256 of the token.
    pub(super) verdicts: Cache<[u8; 32], Verdict>,
}

/// Where the issuer is asked.
#[derive(Debug)]
pub(super) enum Endpoint {
    /// At an address that is set.
    Set(Url),
    /// At the one that its metadata names.
    Issuer(Arc<Issuer>),
}

#[derive(Clone)]
pub(super) struct Verdict {
    result: Result<Caller, Why>,
    /// In seconds since 1970.
    counts_until: i64,
}

impl Introspection {
    /// Asks as the client `client_id`, with connections of `http`, which follows no redirects.
    pub(super) fn new(expected: Expected, endpoint: Endpoint, client_id: String, http: Client) -> Self {
        let verdicts = Cache::builder()
            .max_capacity(MAX_VERDICTS)
            .time_to_live(Duration::from_secs(GOOD_SECONDS as u64))
            .build();
        Self {
            expected,
            endpoint,
            client_id,
            http,
            places: Semaphore::new(MAX_ASKED),
            verdicts,
        }
    }

    /// Admits a token that the issuer calls active, and that is as it is expected to be.
    ///
    /// Waits for the issuer, two seconds at most, where its word is not known; however many show a token, the issuer is
    /// asked about it once.
    pub(super) async fn check(&self, token: &str, secrets: &[Arc<str>]) -> Result<Caller, Why> {
        // What no token is made of (RFC 6750, 2.1) is nothing to ask about.
        let may_be_one = token.len() <= MAX_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || !may_be_one {
            return Err(Why::NotAToken("what no bearer token is made of".to_owned()));
        }
        let verdict = self
            .verdicts
            .entry(Sha256::digest(token).into())
            .or_insert_with_if(self.judge(token, secrets), |known| known.counts_until <= self.now())
            .await;
        verdict.into_value().result
    }

    async fn judge(&self, token: &str, secrets: &[Arc<str>]) -> Verdict {
        let asked = tokio::time::timeout(FETCH_LIMIT, self.ask(token, secrets)).await;
        let asked = asked.unwrap_or_else(|_| {
            let limit = FETCH_LIMIT.as_secs();
            Err(Why::NotJudged(format!("no answer within {limit} s")))
        });
        let now = self.now();
        let judged = asked.and_then(|answer| self.read(answer, now));
        match judged {
            Ok((caller, expires)) => Verdict {
                result: Ok(caller),
                counts_until: expires.min(now + GOOD_SECONDS),
            },
            Err(why) => Verdict {
                counts_until: now
                    + if why.is_unavailable() {
                        NOT_JUDGED_SECONDS
                    } else {
                        REFUSED_SECONDS
                    },
                result: Err(why),
            },
        }
    }

    async fn ask(&self, token: &str, secrets: &[Arc<str>]) -> Result<Map<String, Value>, Why> {
        let _place = self.places.acquire().await;
        let url = match &self.endpoint {
            Endpoint::Set(url) => url.clone(),
            Endpoint::Issuer(issuer) => issuer.introspection_endpoint().await?,
        };
        let answer = self.exchange(url, token, secrets).await;
        answer.map_err(|error| Why::NotJudged(format!("introspection: {error:#}")))
    }

    async fn exchange(&self, url: Url, token: &str, secrets: &[Arc<str>]) -> anyhow::Result<Map<String, Value>> {
        let secret = secrets.first().context("no client secret")?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = self
            .http
            .post(url)
            .header(AUTHORIZATION, client_basic(&self.client_id, secret)?)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            bail!("status {status}: AUTH_OAUTH_CLIENT_ID or AUTH_OAUTH_CLIENT_SECRET is wrong");
        }
        ensure!(status == StatusCode::OK, "status {status}");
        serde_json::from_slice(&body(response).await?).map_err(|_| anyhow::anyhow!("the answer is no JSON object"))
    }

    /// The caller, and when the token expires.
    fn read(&self, mut answer: Map<String, Value>, now: i64) -> Result<(Caller, i64), Why> {
        if answer.get("active") != Some(&Value::Bool(true)) {
            return Err(Why::NotActive);
        }
        // A refresh token is active, too; one that is bound to a key (DPoP) is not shown as it would have to be.
        let of_calls = ["bearer", "access_token"];
        let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or("bearer");
        if !of_calls.contains(&kind.to_ascii_lowercase().as_str()) {
            return Err(Why::NotAToken("a token that is not of type Bearer".to_owned()));
        }
        let client = answer.get("client_id").and_then(Value::as_str).map(str::to_owned);
        // All but `active` may be left out: the issuer knows of no end, and is who it is.
        let told = |answer: &Map<String, Value>, name| answer.get(name).is_some_and(|value| !value.is_null());
        if !told(&answer, "exp") {
            answer.insert("exp".to_owned(), (now + GOOD_SECONDS).into());
        }
        if let Some(issuer) = self.expected.issuers.first()
            && !told(&answer, "iss")
        {
            answer.insert("iss".to_owned(), issuer.as_str().into());
        }
        let claims: Claims = serde_json::from_value(Value::Object(answer))
            .map_err(|_| Why::NotJudged("introspection: the answer cannot be read".to_owned()))?;
        self.expected.check(&claims)?;
        let caller = Caller::Introspected {
            subject: claims.sub,
            client,
        };
        Ok((caller, claims.exp as i64))
    }

    fn now(&self) -> i64 {
        self.expected.clock.now().timestamp()
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
