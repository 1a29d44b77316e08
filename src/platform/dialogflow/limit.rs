//! Keeps a reply within what Dialogflow takes in size and nesting, by giving up its least important parts first.

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

/// How deep a reply's arrays and objects may stand in each other. Protobuf parsers stop at 100 nested messages, and a
/// level of a free-form object is three of them.
const MAX_NESTING: usize = 32;

/// The last cut's text, in bytes: JSON writes one byte as at most six.
const SHORT_TEXT: usize = MAX_REPLY / 8;

/// Calls `encode` with one cut after the other, until the reply fits.
pub(super) fn fit(mut encode: impl FnMut(Cut) -> Vec<u8>) -> Bytes {
    let whole = encode(Cut::Nothing);
    if fits(&whole) {
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
        if fits(&shorter) {
            warn!(
                reply_bytes = whole.len(),
                limit_bytes = MAX_REPLY,
                limit_nesting = MAX_NESTING,
                "reply too large or too deep for Dialogflow, cut up to: {cut:?}"
            );
            break;
        }
    }
    shorter.into()
}

fn fits(reply: &[u8]) -> bool {
    reply.len() <= MAX_REPLY && nesting(reply) <= MAX_NESTING
}

/// How deep `json` goes.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                // To the end of the string; an escape hides the byte after it.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_brackets_outside_of_strings() {
        assert_eq!(nesting(br#"{"a":[{"b":"]]}}\"[[["}],"c":{}}"#), 3);
        assert_eq!(nesting(br#""\\""#), 0);
    }
}
