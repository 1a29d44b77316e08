//! A request's body: how its bytes arrive, what they are, and how much memory all of them may take.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock::before;
use crate::error::Refused;

/// How long a body may take to arrive.
pub(crate) const BODY_LIMIT: Duration = Duration::from_secs(4);

/// What a body takes before it is known how much of it comes, in bytes.
const FIRST_BYTES: usize = 8 * 1024;

/// A body, and the memory that it takes until it is dropped.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    memory: OwnedSemaphorePermit,
}

/// The memory that the bodies of all connections may take together. Clones share it.
#[derive(Clone)]
pub(crate) struct BodyMemory {
    free: Arc<Semaphore>,
    bytes: usize,
}

impl BodyMemory {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            bytes,
        }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let bytes = u32::try_from(bytes).map_err(|_| Refused::NoRoom)?;
        let taken = Arc::clone(&self.free).try_acquire_many_owned(bytes);
        taken.map_err(|_| Refused::NoRoom)
    }
}

/// The body as it was sent, if it is no longer than `limit` and arrives until `patience`, which is [`BODY_LIMIT`] after the
/// request.
pub(crate) async fn read(
    headers: &HeaderMap,
    payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
    memory: &BodyMemory,
    patience: Instant,
) -> Result<Body, Refused> {
    let arrived = before(patience, arrival(headers, payload, limit, memory)).await;
    arrived.map_err(|_| Refused::TooSlow {
        limit_ms: BODY_LIMIT.as_millis(),
    })?
}

/// It takes memory as it comes, whatever its length is said to be.
async fn arrival(
    headers: &HeaderMap,
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
    memory: &BodyMemory,
) -> Result<Body, Refused> {
    let limit = limit.min(memory.bytes);
    let too_large = || Refused::TooLarge { limit, inflated: false };
    let stated = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if stated.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let most = stated.unwrap_or(limit);
    let mut bytes = Vec::new();
    let mut taken = memory.take(0)?;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Refused::BrokeOff(error.to_string()))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        if length > bytes.capacity() {
            let capacity = (2 * bytes.capacity()).max(FIRST_BYTES).min(most).max(length);
            taken.merge(memory.take(capacity - bytes.capacity())?);
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body {
        bytes: bytes.into(),
        memory: taken,
    })
}

/// JSON must be said to be JSON: what a browser can post to another site without asking is refused.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Refused> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let found = String::from_utf8_lossy(found).into_owned();
    let mut parts = found.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    let charset = parts.find_map(|part| {
        part.to_ascii_lowercase()
            .strip_prefix("charset=")
            .map(|set| set.trim_matches('"').to_owned())
    });
    if json && charset.is_none_or(|charset| charset == "utf-8" || charset == "utf8") {
        return Ok(());
    }
    let found = found.chars().take(100).collect();
    Err(Refused::UnsupportedMedia {
        header: "Content-Type",
        found,
        expected: "application/json in UTF-8",
    })
}

/// The body without its Content-Encoding; never more than `most` bytes.
pub(crate) fn inflate(headers: &HeaderMap, body: Body, most: usize, memory: &BodyMemory) -> Result<Body, Refused> {
    let Body { bytes, memory: sent } = body;
    let sent_bytes = bytes.len();
    let bytes = inflated(headers, bytes, most)?;
    let memory = if bytes.len() > sent_bytes {
        memory.take(bytes.len())?
    } else {
        sent
    };
    Ok(Body { bytes, memory })
}

fn inflated(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, Refused> {
    let encoding = text(headers, &header::CONTENT_ENCODING)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => inflate_with(MultiGzDecoder::new(&body[..]), "gzip", most),
        // RFC 9110 means zlib; some clients send bare deflate.
        "deflate" => inflate_with(ZlibDecoder::new(&body[..]), "deflate", most).or_else(|error| {
            if matches!(error, Refused::BadEncoding { .. }) {
                inflate_with(DeflateDecoder::new(&body[..]), "deflate", most)
            } else {
                Err(error)
            }
        }),
        other => {
            let found = other.chars().take(100).collect();
            Err(Refused::UnsupportedMedia {
                header: "Content-Encoding",
                found,
                expected: "gzip, deflate or identity",
            })
        }
    }
}

fn inflate_with(decoder: impl Read, encoding: &'static str, most: usize) -> Result<Bytes, Refused> {
    let mut body = Vec::new();
    let limit = most as u64 + 1;
    decoder
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|_| Refused::BadEncoding { encoding })?;
    if body.len() > most {
        return Err(Refused::TooLarge {
            limit: most,
            inflated: true,
        });
    }
    Ok(body.into())
}

/// A header that is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
}
