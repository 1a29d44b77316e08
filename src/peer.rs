//! Who is at the other end of a connection, as each of its requests says.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_http::{HttpMessage, Request};

use crate::tls::ClientCertificate;

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether nobody on the way can read along.
    pub(crate) is_encrypted: bool,
    /// What the client has proven to be its own.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

impl Peer {
    /// The peer of an unencrypted connection.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            is_encrypted: false,
            certificate: None,
        }
    }

    /// Has a request say that it is from here.
    pub(crate) fn mark(&self, request: &mut Request) {
        request.head_mut().peer_addr = Some(self.address);
        request.extensions_mut().insert(self.clone());
    }

    /// Who has sent a request; `None` where it has come by no connection of ours.
    pub(crate) fn of(request: &impl HttpMessage) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}
