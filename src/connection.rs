//! One connection, from the handshake to the end: HTTP/1.1, or HTTP/2 where that is agreed on within TLS.

mod exchange;
mod http1;
mod http2;
mod patient;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_http::{Request, ServiceConfig};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use self::exchange::HEAD_LIMIT;
use self::patient::Patient;
use crate::peer::Peer;
use crate::terms::Terms;
use crate::tls::Tls;

/// Answers the requests of a connection by `app`, until either side closes it; encrypted where there is `tls`.
pub(crate) async fn serve<S, B>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<&Arc<Tls>>,
    app: &S,
    config: ServiceConfig,
    terms: &Terms,
) where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    // Who connects has a request to make.
    let patience = Instant::now() + HEAD_LIMIT;
    let Some(tls) = tls else {
        return http1::serve(stream, &Peer::plain(address), patience, app, config, terms).await;
    };
    let agreed = tokio::select! {
        agreed = timeout_at(patience, tls.accept(Patient::new(stream))) => agreed,
        () = terms.stop() => return,
    };
    let agreed = match agreed {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(error)) => return debug!(peer = %address, error = %error, "no TLS"),
        Err(_) => return debug!(peer = %address, "no TLS in time"),
    };
    let peer = Peer {
        address,
        is_encrypted: true,
        certificate: agreed.certificate,
    };
    match agreed.is_http2 {
        true => http2::serve(agreed.stream, &peer, patience, app, &config, terms).await,
        false => http1::serve(agreed.stream, &peer, patience, app, config, terms).await,
    }
}
