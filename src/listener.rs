//! Where connections come in, and the threads that serve them: they outlive all that a turn or an event has begun.
//!
//! A connection to the database belongs to the thread that has opened it, and the threads here open some: they are the
//! last to go when the service stops.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_http::{KeepAlive, Request, ServiceConfigBuilder};
use actix_service::IntoServiceFactory;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceFactory, ServiceResponse};
use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use crate::connection;
use crate::terms::Terms;
use crate::tls::Tls;

/// How many connections may wait to be taken; the system may allow fewer.
const BACKLOG: u32 = 4_096;

/// Connections at most, however many descriptors there are.
const MAX_CONNECTIONS: u64 = 100_000;

/// Descriptors that connections leave to the database, files and calls; half of all, where there are few.
const KEPT_DESCRIPTORS: u64 = 512;

/// Fewer descriptors than this are warned of.
const FEW_DESCRIPTORS: u64 = 4_096;

/// How long to wait before the next try when no connection can be taken.
const RETRY: Duration = Duration::from_millis(100);

/// Threads that serve connections until this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    is_encrypted: bool,
    terms: Terms,
    threads: Vec<JoinHandle<()>>,
    running: DropGuard,
}

/// A connection on its way to the thread that serves it, with its place.
type Taken = (TcpStream, SocketAddr, OwnedSemaphorePermit);

impl Server {
    /// Listens, and has each connection's requests answered by an `app` of its thread; encrypted where there is `tls`.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be started.
    pub(crate) fn start<F, I, S, B>(
        listen: SocketAddr,
        tls: Option<Arc<Tls>>,
        terms: Terms,
        app: F,
    ) -> anyhow::Result<Self>
    where
        F: Fn() -> I + Clone + Send + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<B>,
                Error = actix_web::Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        let listener = listener(listen).with_context(|| format!("cannot bind {listen}"))?;
        let address = listener.local_addr()?;
        let ended = CancellationToken::new();
        let (mut ways, mut starts) = (Vec::new(), Vec::new());
        for number in 0..thread::available_parallelism()?.get() {
            let (way, taken) = mpsc::unbounded_channel();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            ways.push(way);
            starts.push((number, runtime, taken));
        }
        let mut intake = Some(Intake {
            listener,
            terms: terms.clone(),
            ways,
        });
        let mut threads = Vec::new();
        for (number, runtime, taken) in starts {
            let serving = Serving {
                taken,
                // One of them takes for all: a thread for that alone would do nothing most of the time.
                intake: intake.take(),
                tls: tls.clone(),
                terms: terms.clone(),
                ended: ended.clone(),
            };
            let app = app.clone();
            let name = format!("http {number}");
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || serving.run(&runtime, app()))
                .context("cannot start a thread")?;
            threads.push(thread);
        }
        Ok(Self {
            address,
            is_encrypted: tls.is_some(),
            terms,
            threads,
            running: ended.drop_guard(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of it, by its address.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Takes no more connections, closes the silent ones, and waits for the others until `patience`; returns how many
    /// were left.
    pub(crate) async fn drain(&self, patience: Instant) -> usize {
        self.terms.leave();
        self.terms.stopping.cancel();
        let all = self.terms.max_connections;
        match timeout_at(patience, self.terms.places.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => (all as usize).saturating_sub(self.terms.places.available_permits()),
        }
    }

    /// Ends the threads, and with them what is left of connections.
    pub(crate) async fn stop(self) {
        drop(self.running);
        let threads = self.threads;
        let ended = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
        if !matches!(ended.await, Ok(Ok(()))) {
            warn!("a thread that served connections has panicked");
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// What takes connections and hands them to the threads, each its share.
struct Intake {
    listener: TcpListener,
    terms: Terms,
    ways: Vec<mpsc::UnboundedSender<Taken>>,
}

impl Intake {
    async fn run(self) {
        tokio::select! {
            () = self.terms.stop() => {}
            ended = self.take() => {
                if let Err(error) = ended {
                    error!(error = %error, "no more connections are taken");
                }
            }
        }
    }

    async fn take(&self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let mut is_failing = false;
        for way in self.ways.iter().cycle() {
            let Ok(place) = Arc::clone(&self.terms.places).acquire_owned().await else {
                break;
            };
            let taken = loop {
                match accept(&listener).await {
                    Ok(taken) => break taken,
                    Err(error) => {
                        if !is_failing {
                            warn!(error = %error, "a connection cannot be taken; trying again");
                        }
                        is_failing = true;
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            is_failing = false;
            // A thread that is gone has panicked: the others go on.
            way.send((taken.0, taken.1, place)).ok();
        }
        Ok(())
    }
}

async fn accept(listener: &tokio::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, peer))
}

/// One thread's part.
struct Serving {
    taken: mpsc::UnboundedReceiver<Taken>,
    intake: Option<Intake>,
    tls: Option<Arc<Tls>>,
    terms: Terms,
    ended: CancellationToken,
}

impl Serving {
    fn run<I, S, B>(mut self, runtime: &Runtime, app: I)
    where
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<B>,
                Error = actix_web::Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        LocalSet::new().block_on(runtime, async {
            let Ok(app) = app.into_factory().new_service(AppConfig::default()).await else {
                return error!("the routes cannot be set up");
            };
            let app = Rc::new(app);
            // How long connections are kept is for the terms to say.
            let config = ServiceConfigBuilder::new().keep_alive(KeepAlive::Os).build();
            if let Some(intake) = self.intake.take() {
                tokio::task::spawn_local(intake.run());
            }
            let serve = async {
                while let Some((stream, peer, place)) = self.taken.recv().await {
                    let (app, config, terms) = (Rc::clone(&app), config.clone(), self.terms.clone());
                    let tls = self.tls.clone();
                    tokio::task::spawn_local(async move {
                        match tokio::net::TcpStream::from_std(stream) {
                            Ok(stream) => connection::serve(stream, peer, tls.as_ref(), &*app, config, &terms).await,
                            Err(error) => warn!(error = %error, "a connection cannot be served"),
                        }
                        drop(place);
                    });
                }
            };
            tokio::select! {
                () = self.ended.cancelled() => {}
                () = serve => self.ended.cancelled().await,
            }
        });
    }
}

/// Raises how many descriptors the process may have to what the system allows, and returns how many connections that
/// leaves room for.
pub(crate) fn raise_descriptors() -> u32 {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
            info!(from = soft, to = hard, "more descriptors");
        }
        Ok(hard)
    });
    let descriptors = descriptors.unwrap_or_else(|error| {
        warn!(error = %error, "the number of descriptors cannot be raised");
        FEW_DESCRIPTORS
    });
    if descriptors < FEW_DESCRIPTORS {
        warn!(
            descriptors,
            wanted = FEW_DESCRIPTORS,
            "few descriptors: each connection takes one (ulimit -Hn, LimitNOFILE)"
        );
    }
    let left = descriptors.saturating_sub(KEPT_DESCRIPTORS).max(descriptors / 2);
    u32::try_from(left.min(MAX_CONNECTIONS)).unwrap_or(u32::MAX)
}
