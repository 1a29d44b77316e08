//! A request's body: how its bytes arrive, and what they are.

use std::io::Read;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Payload};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt as _;

use crate::error::HttpError;

/// The body as it was sent, if it is no longer than `limit`.
pub(crate) async fn read(headers: &HeaderMap, mut payload: Payload, limit: usize) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::TooLarge { limit, inflated: false };
    let length = text(headers, &header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok())
        .unwrap_or(0);
    if length > limit {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(length);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| HttpError::BrokeOff(error.to_string()))?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// JSON must be said to be JSON: what a browser can post to another site without asking is refused.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), HttpError> {
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
    Err(HttpError::UnsupportedMedia {
        header: "Content-Type",
        found,
        expected: "application/json in UTF-8",
    })
}

/// The body without its Content-Encoding; never more than `most` bytes.
pub(crate) fn inflate(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, HttpError> {
    let encoding = text(headers, &header::CONTENT_ENCODING)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => inflate_with(MultiGzDecoder::new(&body[..]), "gzip", most),
        // RFC 9110 means zlib; some clients send bare deflate.
        "deflate" => inflate_with(ZlibDecoder::new(&body[..]), "deflate", most).or_else(|error| match error {
            HttpError::BadEncoding { .. } => inflate_with(DeflateDecoder::new(&body[..]), "deflate", most),
            other => Err(other),
        }),
        other => {
            let found = other.chars().take(100).collect();
            Err(HttpError::UnsupportedMedia {
                header: "Content-Encoding",
                found,
                expected: "gzip, deflate or identity",
            })
        }
    }
}

fn inflate_with(decoder: impl Read, encoding: &'static str, most: usize) -> Result<Bytes, HttpError> {
    let mut body = Vec::new();
    let limit = most as u64 + 1;
    decoder
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|_| HttpError::BadEncoding { encoding })?;
    if body.len() > most {
        return Err(HttpError::TooLarge {
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
