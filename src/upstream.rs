//! The one HTTP client: cut to the time left, bounded in size, and with a breaker for each host.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use recloser::Error as Broken;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, IntoUrl, Method, Request, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{Instrument as _, debug_span};

use crate::breakers::{Breakers, Caller};
use crate::client_credentials::{ClientCredentials, Tokens};
use crate::clock::Clock;
use crate::fail::Fail;
use crate::telemetry::traces::{SPANS, traceparent};

/// The most of an answer that is read, in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// How long one request may take, when the handler has more time than that.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Calls other services for a handler.
///
/// After half of the last 20 calls to a host have failed, calls to it fail at once for 5 seconds; then a few are let
/// through to see whether it has recovered.
///
/// ```
/// use rejoinder::serde_json::Value;
/// use rejoinder::{Fail, Reply, Upstream};
///
/// async fn rate(upstream: Upstream) -> Result<Reply, Fail> {
///     let request = upstream.get("https://rates.example/latest");
///     let rates: Value = upstream.json(request).await?;
///     Ok(Reply::text(rates["EUR"].to_string()))
/// }
/// # rejoinder::Bot::new().intent("Rate", rate).check().unwrap();
/// ```
#[derive(Clone)]
pub struct Upstream {
    client: Client,
    breakers: Breakers,
    until: Option<Instant>,
    /// Follows no redirects: it asks for tokens.
    direct: Client,
    tokens: Tokens,
    /// Whose token requests bear.
    credentials: Option<Arc<ClientCredentials>>,
}

impl Upstream {
    /// A client with its own connections.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> anyhow::Result<Self> {
        Self::by(Clock::system())
    }

    /// As [`new`](Self::new), with tokens that end by this clock.
    pub(crate) fn by(clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            client: client()?,
            breakers: Breakers::default(),
            until: None,
            direct: key_client()?,
            tokens: Tokens::new(clock),
            credentials: None,
        })
    }

    /// The same client, whose requests bear a token of these credentials, in place of any `Authorization` that they have.
    ///
    /// The token is fetched when there is none, once for all who wait, kept, and renewed a minute before it ends. A request
    /// that is refused with 401 is sent once more with a new token.
    ///
    /// ```
    /// use rejoinder::serde_json::Value;
    /// use rejoinder::{ClientCredentials, Fail, Reply, Upstream};
    ///
    /// async fn orders(upstream: Upstream) -> Result<Reply, Fail> {
    ///     let bot = ClientCredentials::new("https://id.example/token", "bot", "CRM_CLIENT_SECRET");
    ///     let crm = upstream.authorized_by(bot.scopes(&["orders.read"]));
    ///     let orders: Value = crm.json(crm.get("https://crm.example/orders")).await?;
    ///     Ok(Reply::text(format!("You have {} orders.", orders["count"])))
    /// }
    /// # rejoinder::Bot::new().intent("Orders", orders).check().unwrap();
    /// ```
    #[must_use]
    pub fn authorized_by(&self, credentials: ClientCredentials) -> Self {
        Self {
            credentials: Some(Arc::new(credentials)),
            ..self.clone()
        }
    }

    /// The breakers of its hosts, to share.
    pub(crate) fn breakers(&self) -> Breakers {
        self.breakers.clone()
    }

    pub(crate) fn until(&self, until: Instant) -> Self {
        Self {
            until: Some(until),
            ..self.clone()
        }
    }

    /// Starts a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.client.get(url)
    }

    /// Starts a request.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends `request` and reads the answer's JSON.
    ///
    /// # Errors
    /// [`Fail::Upstream`] when the service cannot be reached in the time left, its breaker is open, no token can be had,
    /// its status is not 2xx, or its answer is over [`MAX_ANSWER`] or not the JSON of a `T`.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fail> {
        let (host, body) = self.body(request, &[]).await?;
        let body = body.unwrap_or_default();
        read(&host, &body)
    }

    /// As [`json`](Self::json), and `None` where the service says that there is no such thing (404) or that there can
    /// be none (422): an answer, and no failure.
    ///
    /// # Errors
    /// As those of [`json`](Self::json).
    pub async fn find<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Option<T>, Fail> {
        let none = [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY];
        let (host, body) = self.body(request, &none).await?;
        body.map(|body| read(&host, &body)).transpose()
    }

    /// The host, and the answer's body; `None` at one of the statuses in `none`.
    async fn body(&self, request: RequestBuilder, none: &[StatusCode]) -> Result<(String, Option<Vec<u8>>), Fail> {
        let mut request = request.build().context("request cannot be built").map_err(Fail::Bug)?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let left = self
            .until
            .map_or(REQUEST_LIMIT, |until| until.saturating_duration_since(Instant::now()));
        let limit = left.min(REQUEST_LIMIT);
        let span = debug_span!(target: SPANS, "upstream", server.address = host);
        if let Some(traceparent) = traceparent(&span).and_then(|text| HeaderValue::try_from(text).ok()) {
            request.headers_mut().insert("traceparent", traceparent);
        }
        let answered = async {
            match &self.credentials {
                Some(client) => self.authorized(client, &host, request, none, limit).await,
                None => self.attempt(&host, request, none, limit).await,
            }
        };
        let answered = answered.instrument(span).await;
        let body = answered
            .with_context(|| format!("upstream {host}"))
            .map_err(Fail::Upstream)?;
        Ok((host, body))
    }

    /// Sends a request with a token; once more with another one where it is refused (401), for then nothing was done.
    async fn authorized(
        &self,
        client: &ClientCredentials,
        host: &str,
        mut request: Request,
        none: &[StatusCode],
        limit: Duration,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let bearer = || async {
            let had = self.tokens.bearer(client, &self.direct, true);
            let in_time = tokio::time::timeout_at(until, had).await;
            in_time.unwrap_or_else(|_| Err(anyhow!("no token within {} ms", limit.as_millis())))
        };
        // A body that is a stream can be sent once.
        let again = request.try_clone();
        let token = bearer().await?;
        request.headers_mut().insert(AUTHORIZATION, token.clone());
        let answered = self.attempt(host, request, none, left()).await;
        let is_refused = |error: &anyhow::Error| {
            let status = error.downcast_ref::<BadStatus>();
            status.is_some_and(|BadStatus(status)| *status == StatusCode::UNAUTHORIZED)
        };
        match (answered, again) {
            (Err(error), Some(mut again)) if is_refused(&error) => {
                self.tokens.refuse(client, true, &token);
                again.headers_mut().insert(AUTHORIZATION, bearer().await?);
                self.attempt(host, again, none, left()).await
            }
            (answered, _) => answered,
        }
    }

    async fn attempt(
        &self,
        host: &str,
        request: Request,
        none: &[StatusCode],
        limit: Duration,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let exchange = async {
            let answered = tokio::time::timeout(limit, self.exchange(request, none)).await;
            answered.unwrap_or_else(|_| Err(anyhow!("no answer within {} ms", limit.as_millis())))
        };
        self.breakers
            .call(host, Caller::Turn, exchange)
            .await
            .map_err(|broken| match broken {
                Broken::Inner(error) => error,
                Broken::Rejected => anyhow!("not called: most of the last calls failed"),
            })
    }

    async fn exchange(&self, request: Request, none: &[StatusCode]) -> anyhow::Result<Option<Vec<u8>>> {
        // A URL may hold a key; errors must not.
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = response.status();
        if none.contains(&status) {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(BadStatus(status).into());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(anyhow!("answer is larger than {MAX_ANSWER} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
#[error("status {0}")]
struct BadStatus(StatusCode);

fn read<T: DeserializeOwned>(host: &str, body: &[u8]) -> Result<T, Fail> {
    serde_json::from_slice(body)
        .with_context(|| format!("upstream {host}: unexpected answer"))
        .map_err(Fail::Upstream)
}

/// An HTTP client with time-outs, which says who we are.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client() -> anyhow::Result<Client> {
    client_builder().build().context("cannot set up the HTTP client")
}

/// The client that fetches keys and certificates: what proves others comes from the address that is set, and from none
/// that it points to.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn key_client() -> anyhow::Result<Client> {
    let client = client_builder().redirect(Policy::none()).build();
    client.context("cannot set up the HTTP client")
}

/// What every HTTP client has: time-outs, and a name.
pub(crate) fn client_builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("rejoinder/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(REQUEST_LIMIT)
}
