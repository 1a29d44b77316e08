//! One HTTP/2 connection: its requests beside each other, each with a stream of its own.
//!
//! h2 reads and writes the frames. What holds for HTTP/1.1 holds here, too: a body is read when the handler asks for it,
//! and until then no more of it comes than the window of its stream lets through; an answer of which nothing is taken for
//! [`ANSWER_LIMIT`] is given up, and so is a connection; one that is silent is closed. Beyond that, a client has so many
//! requests under way, and a request that it takes back counts until its handler is done: so who sends and takes back
//! requests without end gets no more done than who waits for the answers, and soon loses the connection.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::cmp::min;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{Method, Payload, Request, Response, ServiceConfig, Version};
use actix_web::ResponseError as _;
use actix_web::dev::{Service, ServiceResponse};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use super::exchange::{ANSWER_LIMIT, LINGER, said, told};
use crate::clock::before;
use crate::error::{HttpError, Refused};
use crate::peer::Peer;
use crate::terms::Terms;

/// Requests that a client may have under way on one connection.
const MAX_STREAMS: u32 = 100;

/// Of these, how many it may take back before they are begun, and how many are remembered that were given up here; one
/// more ends the connection.
const MAX_TAKEN_BACK: usize = 20;
const MAX_GIVEN_UP: usize = 50;

/// How many streams a client may spoil by mistakes before it loses the connection.
const MAX_MISTAKES: usize = 100;

/// A head's size at most, as HTTP/2 counts it: 32 bytes more for each header; and the number of its headers, as in
/// HTTP/1.1. A client may have a hundred of them lie here.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
const MAX_HEADERS: usize = 96;

/// What of a body may come before it is read, of one request and of all of a connection, in bytes.
const BODY_BYTES: u32 = 64 * 1024;
const BODIES_BYTES: u32 = 256 * 1024;

/// The status that asks for a body (RFC 9110, 15.2.1).
const CONTINUE: u16 = 100;

/// What of an answer is kept that the client has not taken, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;

/// Answers the requests of a connection by `app`, until either side closes it. The first comes within `patience`.
pub(super) async fn serve<T, S, B>(
    io: T,
    peer: &Peer,
    patience: Instant,
    app: &S,
    config: &ServiceConfig,
    terms: &Terms,
) where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .max_concurrent_reset_streams(MAX_GIVEN_UP)
        .max_local_error_reset_streams(Some(MAX_MISTAKES))
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_window_size(BODY_BYTES)
        .initial_connection_window_size(BODIES_BYTES)
        .max_send_buffer_size(ANSWER_BYTES);
    let begun = tokio::select! {
        begun = timeout_at(patience, builder.handshake::<_, Bytes>(io)) => begun,
        () = terms.stop() => return,
    };
    let Ok(Ok(mut connection)) = begun else {
        return debug!(peer = %peer.address, "no HTTP/2");
    };
    let mut streams = FuturesUnordered::new();
    // Until when it may be silent, while no request is under way.
    let mut patience = patience;
    let (mut has_begun, mut is_ending) = (false, false);
    loop {
        let was_ending = is_ending;
        let has_room = streams.len() < MAX_STREAMS as usize;
        let next = std::future::poll_fn(|cx| match has_room {
            true => connection.poll_accept(cx),
            // It goes on taking back and giving up, but nothing is begun.
            false => connection.poll_closed(cx).map(|closed| closed.err().map(Err)),
        });
        tokio::select! {
            next = next => match next {
                Some(Ok((request, answer))) => {
                    has_begun = true;
                    streams.push(serve_stream(request, answer, peer, app, config));
                    // Between requests that a client has sent together, others have their turn.
                    if streams.len() > 1 {
                        tokio::task::yield_now().await;
                    }
                }
                Some(Err(error)) => {
                    debug!(peer = %peer.address, error = %error, "connection broken");
                    break;
                }
                None => break,
            },
            Some(()) = streams.next() => {
                patience = if is_ending { farewell(&connection) } else { Instant::now() + terms.patience() };
            }
            () = sleep_until(patience), if streams.is_empty() => {
                if is_ending {
                    break;
                }
                is_ending = true;
            }
            () = ending(terms, has_begun), if !is_ending => is_ending = true,
        }
        if is_ending && !was_ending {
            connection.graceful_shutdown();
            patience = farewell(&connection);
        }
    }
    // Handlers are not ended by a client that leaves; what they say goes nowhere.
    while streams.next().await.is_some() {}
}

/// Waits until no more requests are wanted. Where the service is about to stop, that is after the first.
async fn ending(terms: &Terms, has_begun: bool) {
    match has_begun {
        true => terms.leaving.cancelled().await,
        false => terms.stop().await,
    }
}

/// Until when a connection is kept that takes no more requests: for what is left of its answers, else for the client to
/// know.
fn farewell<T>(connection: &Connection<T, Bytes>) -> Instant
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    Instant::now() + if connection.has_streams() { ANSWER_LIMIT } else { LINGER }
}

/// Answers one request.
async fn serve_stream<S, B>(
    request: http::Request<RecvStream>,
    answer: SendResponse<Bytes>,
    peer: &Peer,
    app: &S,
    config: &ServiceConfig,
) where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let answer = Rc::new(RefCell::new(answer));
    let is_head = request.method() == http::Method::HEAD;
    let response = match translated(request, &answer) {
        Ok(mut request) => {
            peer.mark(&mut request);
            said(app, request).await
        }
        Err(refused) => HttpError::from(refused).error_response().into(),
    };
    let (response, body) = told(response, peer).into_parts();
    let size = body.size();
    let is_whole = is_head || matches!(size, BodySize::None | BodySize::Sized(0));
    let head = head(&response, size, config);
    let sent = answer.borrow_mut().send_response(head, is_whole);
    match sent {
        Ok(stream) if !is_whole => send(body, stream).await,
        Ok(_) => {}
        Err(error) => debug!(peer = %peer.address, error = %error, "answer not taken"),
    }
}

/// A request as the app knows it, whose body is still to come.
fn translated(
    request: http::Request<RecvStream>,
    answer: &Rc<RefCell<SendResponse<Bytes>>>,
) -> Result<Request, Refused> {
    let (parts, incoming) = request.into_parts();
    if parts.headers.len() > MAX_HEADERS {
        return Err(Refused::HeadTooLarge);
    }
    let is_awaited = parts
        .headers
        .get(http::header::EXPECT)
        .is_some_and(|expected| expected == "100-continue");
    let mut request = Request::new();
    if !incoming.is_end_stream() {
        let body = StreamBody {
            incoming,
            awaited: is_awaited.then(|| Rc::clone(answer)),
        };
        *request.payload() = Payload::Stream {
            payload: Box::pin(body),
        };
    }
    let head = request.head_mut();
    head.version = Version::HTTP_2;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).map_err(|_| Refused::NoAddress)?;
    let path = parts.uri.path_and_query().ok_or(Refused::NoAddress)?;
    head.uri = path.as_str().parse().map_err(|_| Refused::NoAddress)?;
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|_| Refused::NotHttp)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Refused::NotHttp)?;
        head.headers.append(name, value);
    }
    // Who is meant stands there in HTTP/1.1 (RFC 9113, 8.3.1).
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refused::NotHttp)?;
        head.headers.insert(header::HOST, host);
    }
    Ok(request)
}

/// The head of an answer. What says how an HTTP/1.1 connection goes on is left out (RFC 9113, 8.2.2).
fn head(response: &Response<()>, size: BodySize, config: &ServiceConfig) -> http::Response<()> {
    let head = http::Response::builder().status(response.status().as_u16());
    let mut head = head.body(()).unwrap_or_default();
    let headers = head.headers_mut();
    for (name, value) in response.headers() {
        if [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name) {
            continue;
        }
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(bytes) = size {
        headers.insert(http::header::CONTENT_LENGTH, bytes.into());
    }
    if !headers.contains_key(http::header::DATE) {
        let mut line = BytesMut::new();
        config.write_date_header(&mut line, false);
        let date = line.strip_prefix(b"date: ").map(<[u8]>::trim_ascii_end);
        if let Some(Ok(date)) = date.map(http::HeaderValue::from_bytes) {
            headers.insert(http::header::DATE, date);
        }
    }
    head
}

/// Sends the body of an answer as the client takes it, and gives it up when nothing is taken for [`ANSWER_LIMIT`].
async fn send(body: BoxBody, mut stream: SendStream<Bytes>) {
    let mut body = pin!(body);
    loop {
        let chunk = tokio::select! {
            chunk = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)) => chunk,
            // It is taken back, or the client is gone: who listens to a stream has nothing else to say.
            _ = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return,
        };
        let mut chunk = match chunk {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                debug!(error = %error, "answer broken off");
                return stream.send_reset(Reason::INTERNAL_ERROR);
            }
            None => break,
        };
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len());
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            let room = match before(Instant::now() + ANSWER_LIMIT, room).await {
                Ok(Some(Ok(0))) => continue,
                Ok(Some(Ok(room))) => room,
                Ok(Some(Err(_)) | None) => return,
                Err(_) => {
                    debug!("answer not taken");
                    return stream.send_reset(Reason::CANCEL);
                }
            };
            let part = chunk.split_to(min(room, chunk.len()));
            if stream.send_data(part, false).is_err() {
                return;
            }
        }
    }
    // Where that fails, nobody is left whom it would matter to.
    stream.send_data(Bytes::new(), true).ok();
}

/// A request's body, read from its stream when it is asked for.
struct StreamBody {
    incoming: RecvStream,
    /// Where the client waits to hear that it is wanted (RFC 9110, 10.1.1).
    awaited: Option<Rc<RefCell<SendResponse<Bytes>>>>,
}

impl Stream for StreamBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(answer) = self.awaited.take() {
            let wanted = http::Response::builder().status(CONTINUE).body(()).unwrap_or_default();
            // A client that is gone is noticed below.
            answer.borrow_mut().send_informational(wanted).ok();
        }
        match ready!(self.incoming.poll_data(cx)) {
            Some(Ok(bytes)) => {
                self.incoming.flow_control().release_capacity(bytes.len()).ok();
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(broken(error)))),
            None => Poll::Ready(None),
        }
    }
}

fn broken(error: h2::Error) -> PayloadError {
    match error.is_io() {
        true => error.into_io().map_or(PayloadError::Incomplete(None), PayloadError::Io),
        false => PayloadError::Incomplete(None),
    }
}
