//! A sentence as words.

/// One word of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// As it was said.
    pub(super) text: &'a str,
    /// In lower case, without the `'s` of English: by this words are alike.
    pub(super) low: String,
    /// Where it begins in the sentence.
    from: usize,
}

/// Signs that are words of their own.
const SIGNS: [char; 5] = ['€', '$', '£', '¥', '%'];

/// Signs that may stand inside of a word: `22:00`, `2026-01-09`, `ada@example.com`, `Europe/Berlin`.
const INSIDE: [char; 10] = [':', '.', ',', '-', '@', '/', '_', '+', '\'', '’'];

/// The words of a sentence, without punctuation.
pub(super) fn words(sentence: &str) -> Vec<Word<'_>> {
    let signs: Vec<(usize, char)> = sentence.char_indices().collect();
    let is_letter = |at: usize| signs.get(at).is_some_and(|(_, sign)| sign.is_alphanumeric());
    let is_digit = |at: usize| signs.get(at).is_some_and(|(_, sign)| sign.is_ascii_digit());
    let is_inside = |at: usize| {
        let sign = signs[at].1;
        let (before, after) = (at.wrapping_sub(1), at + 1);
        match sign {
            ',' => is_digit(before) && is_digit(after),
            _ => INSIDE.contains(&sign) && is_letter(before) && is_letter(after),
        }
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < signs.len() {
        let (from, sign) = signs[at];
        let begin = at;
        at += 1;
        if is_letter(begin) {
            while at < signs.len() && (is_letter(at) || is_inside(at)) {
                at += 1;
            }
        } else if !SIGNS.contains(&sign) {
            continue;
        }
        let to = signs.get(at).map_or(sentence.len(), |(to, _)| *to);
        let text = &sentence[from..to];
        let low = text.to_lowercase();
        let low = low
            .strip_suffix("'s")
            .or(low.strip_suffix("’s"))
            .unwrap_or(&low)
            .to_owned();
        found.push(Word { text, low, from });
    }
    found
}

/// What of the sentence the first so many of `words` are, as it was said.
pub(super) fn said<'a>(sentence: &'a str, words: &[Word<'_>]) -> &'a str {
    match (words.first(), words.last()) {
        (Some(first), Some(last)) => sentence
            .get(first.from..last.from + last.text.len())
            .unwrap_or_default(),
        _ => "",
    }
}
