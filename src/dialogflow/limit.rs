//! Keeps a reply within the size that Dialogflow takes, by giving up its least important parts first.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value};
use tracing::warn;

use super::MAX_REPLY;

/// What to give up next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    Nothing,
    Payload,
    Rich,
    Entities,
    Contexts,
    /// All but the text, and that at this many bytes.
    Text(usize),
}

/// The last cut's text, in bytes: JSON writes one byte as at most six.
const SHORT_TEXT: usize = MAX_REPLY / 8;

/// Calls `encode` with one cut after the other, until the reply fits.
pub(super) fn fit(mut encode: impl FnMut(Cut) -> Vec<u8>) -> Bytes {
    let whole = encode(Cut::Nothing);
    if whole.len() <= MAX_REPLY {
        return whole.into();
    }
    let cuts = [
        Cut::Payload,
        Cut::Rich,
        Cut::Entities,
        Cut::Contexts,
        Cut::Text(MAX_REPLY / 2),
        Cut::Text(SHORT_TEXT),
    ];
    let mut shorter = Vec::new();
    for cut in cuts {
        shorter = encode(cut);
        if shorter.len() <= MAX_REPLY {
            warn!(
                reply_bytes = whole.len(),
                limit_bytes = MAX_REPLY,
                "reply too large for Dialogflow, cut: {cut:?}"
            );
            break;
        }
    }
    shorter.into()
}

/// Shortens `text` to `bytes`, at a character.
pub(super) fn cut_text(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - '…'.len_utf8()));
        text.push('…');
    }
}

/// An object with nothing in it.
pub(super) fn empty() -> &'static Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    &EMPTY
}
