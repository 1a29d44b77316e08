//! By what words are read, and the numbers among them.

use chrono::DateTime;
use chrono_tz::Tz;

use crate::lang::Lang;

/// By what words are read.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) lang: Lang,
    /// Where the user is, and what time it is there.
    pub(super) now: DateTime<Tz>,
    /// Whether the words answer a question: then `10` is a time, too.
    pub(super) is_answer: bool,
}

/// Names of numbers from zero on.
const NUMBERS: [&[&str]; 2] = [
    &[
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    ],
    &[
        "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf",
    ],
];

/// A number in figures or by its name.
pub(super) fn number(word: &str, lang: &Lang) -> Option<f64> {
    let names = NUMBERS
        .iter()
        .find_map(|names| names.iter().position(|name| *name == word));
    if let Some(number) = names {
        return Some(number as f64);
    }
    let (thousands, point) = if lang.is("de") { ('.', ",") } else { (',', ".") };
    let is_figure = |sign: char| sign.is_ascii_digit() || matches!(sign, '.' | ',');
    if !word.starts_with(|sign: char| sign.is_ascii_digit()) || !word.chars().all(is_figure) {
        return None;
    }
    let (whole, fraction) = word.split_once(point).unwrap_or((word, "0"));
    let mut groups = whole.split(thousands);
    let head = groups.next()?;
    let in_threes = groups.clone().all(|group| group.len() == 3) && (groups.next().is_none() || head.len() <= 3);
    let whole = whole.replace(thousands, "");
    in_threes.then(|| format!("{whole}.{fraction}").parse().ok())?
}
