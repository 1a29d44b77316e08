//! What may stand between a service and its database: it can fall silent, lead elsewhere, or be a pooler.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    port: u16,
    route: Arc<Mutex<Route>>,
    _accepting: JoinSet<()>,
}

struct Route {
    socket: PathBuf,
    drops_options: bool,
    /// Of the connections that are there: whether they are cut, or silent.
    fate: watch::Sender<Fate>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Lives,
    Silent,
    Cut,
}

impl Proxy {
    /// Leads to the server whose socket is in this directory.
    pub(crate) async fn to(sockets: &Path) -> Self {
        Self::start(sockets, false).await
    }

    /// Does, and takes the settings of a connection for its own, as a pooler does.
    pub(crate) async fn pooling(sockets: &Path) -> Self {
        Self::start(sockets, true).await
    }

    async fn start(sockets: &Path, drops_options: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let route = Arc::new(Mutex::new(Route {
            socket: sockets.join(".s.PGSQL.5432"),
            drops_options,
            fate: watch::Sender::new(Fate::Lives),
        }));
        let mut accepting = JoinSet::new();
        accepting.spawn({
            let route = Arc::clone(&route);
            async move {
                let mut links = JoinSet::new();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let (socket, drops_options, fate) = {
                        let route = route.lock().unwrap();
                        (route.socket.clone(), route.drops_options, route.fate.subscribe())
                    };
                    // One that cannot be linked is closed.
                    links.spawn(async move { link(client, &socket, drops_options, fate).await.ok() });
                }
            }
        });
        Self {
            port,
            route,
            _accepting: accepting,
        }
    }

    /// How to connect through it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("rejoinder")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    /// Connections that are there are neither answered nor closed from now on; new ones are served.
    pub(crate) fn fall_silent(&self) {
        self.end_with(Fate::Silent);
    }

    /// Connections that are there are cut; new ones lead to the server whose socket is in this directory.
    pub(crate) fn lead_to(&self, sockets: &Path) {
        self.route.lock().unwrap().socket = sockets.join(".s.PGSQL.5432");
        self.end_with(Fate::Cut);
    }

    fn end_with(&self, fate: Fate) {
        let before = std::mem::replace(&mut self.route.lock().unwrap().fate, watch::Sender::new(Fate::Lives));
        before.send_replace(fate);
    }
}

async fn link(
    mut client: TcpStream,
    socket: &Path,
    drops_options: bool,
    mut fate: watch::Receiver<Fate>,
) -> io::Result<()> {
    let mut server = UnixStream::connect(socket).await?;
    if drops_options {
        let mut length = [0; 4];
        client.read_exact(&mut length).await?;
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut startup).await?;
        server.write_all(&without_options(&startup)).await?;
    }
    let decided = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return Ok(()),
        decided = fate.wait_for(|fate| *fate != Fate::Lives) => decided.map(|fate| *fate),
    };
    if let Ok(Fate::Silent) = decided {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// A startup message without its `options`; given without its length, returned with it.
fn without_options(startup: &[u8]) -> Vec<u8> {
    let (protocol, parameters) = startup.split_at(4);
    let words: Vec<&[u8]> = parameters.split(|byte| *byte == 0).collect();
    let mut kept = protocol.to_vec();
    for pair in words
        .chunks_exact(2)
        .filter(|pair| !pair[0].is_empty() && pair[0] != b"options")
    {
        for word in pair {
            kept.extend_from_slice(word);
            kept.push(0);
        }
    }
    kept.push(0);
    let length = u32::try_from(kept.len() + 4).unwrap();
    [length.to_be_bytes().as_slice(), &kept].concat()
}
