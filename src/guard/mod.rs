//! What stands before a door's routes: from where a request may come, how often, and who sends it.
//!
//! A guard wraps the routes of its door. What it lets through carries [`Admitted`], without which no handler of the door
//! is reached.

mod allowed;
mod client;
mod failures;
mod limit;
mod seen;

use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use tokio::time::Instant;
use tracing::Span;
use url::{Host, Url};

use self::allowed::Allowed;
use self::client::BadForwarding;
pub(crate) use self::client::Client;
use self::failures::Failures;
use self::limit::{Limit, TooOften};
use crate::auth::{self, Auth, Caller, Exposure, signature};
use crate::body::{BODY_LIMIT, Body, BodyMemory, read};
use crate::clock::{Clock, before};
use crate::config::{Door, DoorSettings, ProxySettings, Rate};
use crate::error::{HttpError, Refused};
use crate::peer::Peer;
use crate::postgres::Database;
use crate::refusals::Refusals;

/// How often a client may come with wrong credentials when nothing is set.
const FAILURES: Rate = Rate::per_minute(NonZeroU32::new(30).expect("more than none"));

/// The guard of a door.
pub(crate) struct Guard {
    door: Door,
    auth: Auth,
    allowed: Option<Allowed>,
    per_client: Option<Limit<Client>>,
    per_caller: Option<Limit<Caller>>,
    failures: Failures,
    proxies: ProxySettings,
    body: Option<ProvingBody>,
    refusals: Refusals,
    clock: Clock,
    database: Option<Database>,
}

/// What a guard needs besides its settings.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) clock: Clock,
    /// For the keys of issuers.
    pub(crate) http: reqwest::Client,
    /// Whether clients are admitted by their certificates, too.
    pub(crate) takes_certificates: bool,
    pub(crate) proxies: ProxySettings,
    pub(crate) refusals: Refusals,
    /// Where replicas tell each other of signed requests; none where nobody calls.
    pub(crate) database: Option<Database>,
}

/// How a body is read that is what proves its caller.
pub(crate) struct ProvingBody {
    pub(crate) max: usize,
    pub(crate) memory: BodyMemory,
}

/// A request that a guard has let through.
pub(crate) struct Admitted {
    /// When it came.
    pub(crate) arrived: Instant,
    /// From which address.
    pub(crate) client: IpAddr,
    /// Its body, where that had to be read before.
    pub(crate) body: Option<Body>,
}

impl Guard {
    /// The guard of a door that those reach of whom `exposure` tells.
    ///
    /// # Errors
    /// When the callers' settings are wrong, or the file of addresses cannot be used.
    pub(crate) fn new(
        door: Door,
        settings: &DoorSettings,
        exposure: Exposure,
        around: &Around,
        body: Option<ProvingBody>,
    ) -> anyhow::Result<Arc<Self>> {
        let clock = &around.clock;
        let auth = Auth::new(&settings.auth, exposure, clock.clone(), around.http.clone())?
            .beside_certificates(around.takes_certificates);
        let allowed = settings.allow_from_file.as_deref().map(Allowed::read);
        Ok(Arc::new(Self {
            door,
            auth,
            allowed: allowed.transpose()?,
            per_client: settings.rate_per_client.map(|rate| Limit::new(rate, clock.clone())),
            per_caller: settings.rate_per_caller.map(|rate| Limit::new(rate, clock.clone())),
            failures: Failures::new(settings.rate_of_failures.unwrap_or(FAILURES), clock.clone()),
            proxies: around.proxies.clone(),
            body,
            refusals: around.refusals.clone(),
            clock: clock.clone(),
            database: around.database.clone(),
        }))
    }

    /// Whether everybody is admitted.
    pub(crate) fn is_open(&self) -> bool {
        self.auth.is_open()
    }

    /// Whether what a caller was admitted with admits it still.
    pub(crate) async fn still_admits(&self, request: &HttpRequest) -> bool {
        certified(request).is_some() || self.auth.still_admits(request.headers()).await
    }

    /// Lets a request of an admitted caller through.
    pub(crate) async fn callers<B: MessageBody>(
        self: Arc<Self>,
        mut request: ServiceRequest,
        next: Next<B>,
    ) -> actix_web::Result<ServiceResponse<EitherBody<B>>> {
        let arrived = Instant::now();
        let looked = match self.client(&request) {
            Ok(client) => self
                .look(client, &mut request, arrived)
                .await
                .map(|body| (client, body)),
            Err(refused) => Err(refused),
        };
        self.pass(looked, arrived, request, next).await
    }

    /// Lets a request through, whoever sends it: that is for the route to find out.
    pub(crate) async fn senders<B: MessageBody>(
        self: Arc<Self>,
        request: ServiceRequest,
        next: Next<B>,
    ) -> actix_web::Result<ServiceResponse<EitherBody<B>>> {
        let arrived = Instant::now();
        let placed = self.client(&request).and_then(|client| {
            self.place(client, &request)?;
            Ok((client, None))
        });
        self.pass(placed, arrived, request, next).await
    }

    /// Whether the request may come from where it comes, now.
    fn place(&self, client: IpAddr, request: &ServiceRequest) -> Result<(), Refused> {
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(client)) {
            return Err(Refused::NotAllowed);
        }
        if let Some(limit) = &self.per_client {
            limit.take(Client::of(client))?;
        }
        match certified(request) {
            Some(_) => Ok(()),
            None => Ok(self.failures.look(client, request.headers())?),
        }
    }

    /// Whether the caller is admitted, now; its body, where that is what proves it.
    async fn look(
        &self,
        client: IpAddr,
        request: &mut ServiceRequest,
        arrived: Instant,
    ) -> Result<Option<Body>, Refused> {
        self.place(client, request)?;
        // Before the budget is spent: a caller whose keys cannot be fetched in time is answered, too.
        let patience = arrived + BODY_LIMIT;
        let body = match &self.body {
            Some(proving) if self.auth.needs_body(request.headers()) => {
                let payload = request.take_payload();
                Some(read(request.headers(), payload, proving.max, &proving.memory, patience).await?)
            }
            Some(_) | None => None,
        };
        let bytes = body.as_ref().map(|body| &*body.bytes).unwrap_or_default();
        let caller = before(patience, self.admit(request, bytes)).await;
        let caller = caller.map_err(|_| Refused::KeysUnavailable)??;
        self.failures.learn(client, request.headers());
        if let Some(limit) = &self.per_caller {
            limit.take(caller)?;
        }
        Ok(body)
    }

    /// Admits a caller by any method that is set; `body` is empty where it has not been read.
    async fn admit(&self, request: &ServiceRequest, body: &[u8]) -> Result<Caller, Refused> {
        let headers = request.headers();
        if self.auth.is_open() {
            expect_loopback(headers)?;
        }
        if let Some(caller) = certified(request) {
            Span::current().record("caller", tracing::field::debug(&caller));
            return Ok(caller);
        }
        let unauthorized = |reasons| Refused::Unauthorized {
            challenges: self.auth.challenges().to_vec(),
            reasons,
        };
        let caller = self.auth.judge(headers, body).await.map_err(|not| match not.refused {
            auth::Refused::NoCredentials | auth::Refused::Rejected => unauthorized(not.reasons),
            auth::Refused::KeysUnavailable => Refused::KeysUnavailable,
        })?;
        if let (Caller::Hmac, Some(database)) = (&caller, &self.database)
            && !seen::first_time(database, &signature::signed(headers, body), self.clock.now()).await
        {
            return Err(unauthorized(
                "hmac: another replica has admitted the same request before".to_owned(),
            ));
        }
        Span::current().record("caller", tracing::field::debug(&caller));
        Ok(caller)
    }

    async fn pass<B: MessageBody>(
        &self,
        looked: Result<(IpAddr, Option<Body>), Refused>,
        arrived: Instant,
        request: ServiceRequest,
        next: Next<B>,
    ) -> actix_web::Result<ServiceResponse<EitherBody<B>>> {
        let (client, body) = match looked {
            Ok(looked) => looked,
            Err(refused) => return Ok(self.refuse(request, refused)),
        };
        request.extensions_mut().insert(Admitted { arrived, client, body });
        let answered = next.call(request).await?;
        // Who sends events is proven by the route.
        if answered.status() == StatusCode::UNAUTHORIZED {
            self.failures.note(client);
        }
        Ok(answered.map_into_left_body())
    }

    /// From where a request comes.
    fn client(&self, request: &ServiceRequest) -> Result<IpAddr, Refused> {
        let client = client::client(peer(request), request.headers(), &self.proxies);
        client.map_err(|BadForwarding| Refused::BadForwarding)
    }

    /// Counts a refusal, and tells of it.
    fn refuse<B>(&self, request: ServiceRequest, refused: Refused) -> ServiceResponse<EitherBody<B>> {
        let client = self.client(&request).unwrap_or(peer(&request).ip());
        if let Refused::Unauthorized { .. } = refused {
            self.failures.note(client);
        }
        let refused = HttpError::from(refused);
        self.tell(client, &refused);
        request.error_response(refused).map_into_right_body()
    }

    /// Tells of a refusal, which may be one of the route's own.
    pub(crate) fn tell(&self, client: IpAddr, refused: &HttpError) {
        let detail = format!("{client}: {}", refused.logged());
        self.refusals.of_caller(self.door, refused.code(), &detail);
    }
}

fn peer(request: &ServiceRequest) -> SocketAddr {
    request.peer_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
}

impl From<TooOften> for Refused {
    fn from(TooOften { rate, wait }: TooOften) -> Self {
        Self::TooOften { rate, wait }
    }
}

impl FromRequest for Admitted {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    /// Once for each request.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = request.extensions_mut().remove();
        ready(admitted.ok_or_else(|| Refused::Unguarded.into()))
    }
}

/// Who has shown a certificate that admits it.
fn certified(request: &impl HttpMessage) -> Option<Caller> {
    let name = Peer::of(request)?.certificate?.admitted_as()?;
    Some(Caller::Certificate { name })
}

/// While everybody is admitted, only who has meant this machine: a page in a browser may have had the browser take a
/// name of its own for this address, and the browser says that name.
fn expect_loopback(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(found) = headers.get(header::HOST) else {
        // No browser leaves it out.
        return Ok(());
    };
    let found = String::from_utf8_lossy(found.as_bytes());
    let host = Url::parse(&format!("http://{found}")).ok();
    let is_loopback = match host.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_loopback {
        return Ok(());
    }
    let found = found.chars().take(100).collect();
    Err(Refused::BadHost { found })
}
