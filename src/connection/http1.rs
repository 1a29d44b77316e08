//! One HTTP/1.1 connection: its requests one after the other, each answered before the next one is read.
//!
//! actix-http reads the requests and writes the answers, by its codec. Its dispatcher, which `HttpServer` brings along,
//! is not used, since three of its habits let strangers take the service off the net: it goes on reading a chunked body
//! that nobody wants for as long as one comes; of what a client has pipelined it makes requests, hundreds of times the
//! size of their bytes, while the answers before are not taken; and an answer may wait to be taken for ever. Here
//!
//! * the next request is read when the answer before it is taken, so that who reads no answers sends no requests;
//! * a body is read when the handler asks for it, and a connection with an unread one is closed behind the answer;
//! * each wait has a limit, but that for a handler and for what a stream has to tell.
//!
//! What the connection runs over is any stream of bytes.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::{ParseError, PayloadError};
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{ConnectionType, Payload, Request, Response, ServiceConfig};
use actix_web::ResponseError as _;
use actix_web::dev::{Service, ServiceResponse};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{Decoder as _, Encoder as _};
use tokio_util::io::poll_read_buf;
use tracing::debug;

use super::exchange::{ANSWER_LIMIT, HEAD_LIMIT, LINGER, said, told};
use crate::clock::before;
use crate::error::{HttpError, Refused};
use crate::peer::Peer;
use crate::terms::Terms;

/// How much is read at once of a head and of a body, and how much of an answer is gathered before it is written, in
/// bytes.
const HEAD_BYTES: usize = 4 * 1024;
const BODY_BYTES: usize = 16 * 1024;
const WRITE_BYTES: usize = 32 * 1024;

/// Answers the requests of a connection by `app`, until either side closes it. The first comes within `patience`.
pub(super) async fn serve<T, S, B>(io: T, peer: &Peer, patience: Instant, app: &S, config: ServiceConfig, terms: &Terms)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let connection = Connection(Rc::new(RefCell::new(Wire {
        io,
        codec: Codec::new(config),
        incoming: BytesMut::new(),
        outgoing: BytesMut::new(),
        body: BodyRead::Whole,
    })));
    let mut patience = patience;
    loop {
        let request = match connection.request(peer, patience, terms).await {
            Ok(Some(request)) => request,
            Ok(None) => break,
            Err(refused) => {
                debug!(peer = %peer.address, reason = %refused, "no request");
                let response = HttpError::from(refused).error_response().into();
                connection.answer(told(response, peer), true).await.ok();
                break;
            }
        };
        let response = told(said(app, request).await, peer);
        match connection.answer(response, terms.is_leaving()).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                debug!(peer = %peer.address, error = %error, "answer not taken");
                return;
            }
        }
        patience = Instant::now() + terms.patience();
        // Between requests that a client has sent together, others have their turn.
        if !connection.0.borrow().incoming.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    connection.close().await;
}

/// A connection, shared with the body of the request that is being answered.
struct Connection<T>(Rc<RefCell<Wire<T>>>);

struct Wire<T> {
    io: T,
    codec: Codec,
    incoming: BytesMut,
    outgoing: BytesMut,
    body: BodyRead,
}

/// How far the body of the last request is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyRead {
    /// To its end, or there is none.
    Whole,
    /// Not to its end.
    Partly,
    /// Not begun: the client waits to hear that it is wanted (RFC 9110, 10.1.1).
    Awaited,
}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Connection<T> {
    /// The next request, whose body is still to come; `None` when the client is gone or silent for too long, or the
    /// service stops.
    async fn request(&self, peer: &Peer, patience: Instant, terms: &Terms) -> Result<Option<Request>, Refused> {
        if self.0.borrow().incoming.is_empty() {
            let arrival = std::future::poll_fn(|cx| self.0.borrow_mut().poll_read(cx));
            tokio::select! {
                biased;
                read = timeout_at(patience, arrival) => match read {
                    Ok(Ok(1..)) => {}
                    Ok(Ok(0) | Err(_)) | Err(_) => return Ok(None),
                },
                () = terms.stop() => return Ok(None),
            }
        }
        let head = std::future::poll_fn(|cx| self.0.borrow_mut().poll_head(cx));
        let limit_ms = HEAD_LIMIT.as_millis();
        let head = before(Instant::now() + HEAD_LIMIT, head).await;
        let Some(mut request) = head.map_err(|_| Refused::HeadTooSlow { limit_ms })?? else {
            return Ok(None);
        };
        peer.mark(&mut request);
        let mut wire = self.0.borrow_mut();
        wire.body = match wire.codec.message_type() {
            MessageType::None => BodyRead::Whole,
            MessageType::Payload | MessageType::Stream if request.head().expect() => BodyRead::Awaited,
            MessageType::Payload | MessageType::Stream => BodyRead::Partly,
        };
        if wire.body != BodyRead::Whole {
            let body = Body(Rc::clone(&self.0));
            *request.payload() = Payload::Stream {
                payload: Box::pin(body),
            };
        }
        Ok(Some(request))
    }

    /// Sends an answer, and returns whether another request may follow.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing for too long.
    async fn answer(&self, response: Response<BoxBody>, is_last: bool) -> io::Result<bool> {
        let (mut head, body) = response.into_parts();
        let size = body.size();
        {
            let mut wire = self.0.borrow_mut();
            if is_last || wire.body != BodyRead::Whole {
                head.head_mut().set_connection_type(ConnectionType::Close);
            }
            wire.encode(Message::Item((head, size)))?;
        }
        if !matches!(size, BodySize::None | BodySize::Sized(0)) {
            self.send_body(body).await?;
        }
        self.flush().await?;
        let wire = self.0.borrow();
        Ok(wire.codec.keep_alive() && wire.body == BodyRead::Whole)
    }

    async fn send_body(&self, body: BoxBody) -> io::Result<()> {
        let mut body = pin!(body);
        loop {
            let mut next = std::future::poll_fn(|cx| body.as_mut().poll_next(cx));
            let chunk = match futures_util::poll!(&mut next) {
                Poll::Ready(chunk) => chunk,
                Poll::Pending => {
                    self.flush().await?;
                    tokio::select! {
                        chunk = next => chunk,
                        gone = self.gone() => return Err(gone),
                    }
                }
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|error| io::Error::other(error.to_string()))?;
            self.0.borrow_mut().encode(Message::Chunk(Some(chunk)))?;
            // No more of the body is asked for than the client takes.
            if self.0.borrow().outgoing.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.0.borrow_mut().encode(Message::Chunk(None))
    }

    /// Waits until the client has taken what is written.
    async fn flush(&self) -> io::Result<()> {
        loop {
            let written = std::future::poll_fn(|cx| self.0.borrow_mut().poll_write(cx));
            match before(Instant::now() + ANSWER_LIMIT, written).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Waits until the client is gone: who listens to a stream has nothing else to say.
    async fn gone(&self) -> io::Error {
        let gone = std::future::poll_fn(|cx| {
            let mut wire = self.0.borrow_mut();
            // What it has sent ahead is read when its turn has come.
            if !wire.incoming.is_empty() {
                return Poll::Pending;
            }
            wire.poll_read(cx)
        });
        match gone.await {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => std::future::pending().await,
            Err(error) => error,
        }
    }

    /// Closes the connection, without taking an answer from the hands of a client that is still sending.
    async fn close(self) {
        let has_unread = {
            let wire = self.0.borrow();
            wire.body != BodyRead::Whole || !wire.incoming.is_empty()
        };
        let orderly = async {
            std::future::poll_fn(|cx| Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(cx)).await?;
            let mut is_open = has_unread;
            while is_open {
                self.0.borrow_mut().incoming.clear();
                is_open = std::future::poll_fn(|cx| self.0.borrow_mut().poll_read(cx)).await? > 0;
            }
            io::Result::Ok(())
        };
        // Nobody is left whom it would matter to whether that went well.
        timeout(LINGER, orderly).await.ok();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Reads more; 0 bytes are the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.reserve(match self.body {
            BodyRead::Whole => HEAD_BYTES,
            BodyRead::Partly | BodyRead::Awaited => BODY_BYTES,
        });
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.incoming)
    }

    /// Reads until there is a whole head; `None` when the client closes before.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Request>, Refused>> {
        loop {
            match self.codec.decode(&mut self.incoming) {
                Ok(Some(Message::Item(request))) => return Poll::Ready(Ok(Some(request))),
                Ok(None) => {}
                Err(ParseError::TooLarge) => return Poll::Ready(Err(Refused::HeadTooLarge)),
                Ok(Some(Message::Chunk(_))) | Err(_) => return Poll::Ready(Err(Refused::NotHttp)),
            }
            if !matches!(ready!(self.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Reads the body's next bytes.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.body == BodyRead::Whole {
            return Poll::Ready(None);
        }
        if self.body == BodyRead::Awaited {
            self.body = BodyRead::Partly;
            self.outgoing.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !self.outgoing.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            match self.codec.decode(&mut self.incoming) {
                Ok(Some(Message::Chunk(Some(bytes)))) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Some(Message::Chunk(None))) => {
                    self.body = BodyRead::Whole;
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Ok(Some(Message::Item(_))) | Err(_) => return Poll::Ready(Some(Err(PayloadError::EncodingCorrupted))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn encode(&mut self, message: Message<(Response<()>, BodySize)>) -> io::Result<()> {
        self.codec.encode(message, &mut self.outgoing)
    }

    /// Writes what the client takes now: so many bytes, or 0 when all is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut io = Pin::new(&mut self.io);
        if self.outgoing.is_empty() {
            ready!(io.poll_flush(cx))?;
            // An idle connection keeps no room for large answers.
            self.outgoing = BytesMut::new();
            return Poll::Ready(Ok(0));
        }
        match ready!(io.as_mut().poll_write(cx, &self.outgoing))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                self.outgoing.advance(written);
                Poll::Ready(Ok(written))
            }
        }
    }
}

/// A request's body, read from the connection when it is asked for.
struct Body<T>(Rc<RefCell<Wire<T>>>);

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for Body<T> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_body(cx)
    }
}
