//! Days and times of day, as English and German say them.

use chrono::{Datelike as _, Days, NaiveDate, NaiveTime, Weekday};

use super::reader::{Reader, number};
use super::words::Word;

/// What may stand before a day.
const BEFORE_A_DAY: &[&str] = &[
    "on",
    "the",
    "this",
    "next",
    "am",
    "den",
    "dem",
    "diesen",
    "nächsten",
    "kommenden",
];

/// What may stand before a time of day.
const BEFORE_A_TIME: &[&str] = &["at", "um", "gegen"];

/// What days are called, and how far off they are.
const RELATIVE: &[(&[&str], u64)] = &[
    (&["day", "after", "tomorrow"], 2),
    (&["today"], 0),
    (&["tomorrow"], 1),
    (&["heute"], 0),
    (&["morgen"], 1),
    (&["übermorgen"], 2),
];

/// Weekdays from Monday on.
const WEEKDAYS: [[&str; 7]; 2] = [
    [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ],
    [
        "montag",
        "dienstag",
        "mittwoch",
        "donnerstag",
        "freitag",
        "samstag",
        "sonntag",
    ],
];

/// Months from January on.
const MONTHS: [[&str; 12]; 2] = [
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
    [
        "januar",
        "februar",
        "märz",
        "april",
        "mai",
        "juni",
        "juli",
        "august",
        "september",
        "oktober",
        "november",
        "dezember",
    ],
];

/// The day that `words` begin with, and of how many it is.
pub(super) fn date(words: &[Word<'_>], reader: &Reader) -> Option<(usize, NaiveDate)> {
    let lead = words
        .iter()
        .take_while(|word| BEFORE_A_DAY.contains(&word.low.as_str()))
        .count();
    let words = &words[lead..];
    let today = reader.now.date_naive();
    let low = |at: usize| words.get(at).map(|word| word.low.as_str());
    let begins = |names: &[&str]| names.iter().enumerate().all(|(at, name)| low(at) == Some(*name));
    if let Some((names, days)) = RELATIVE.iter().find(|(names, _)| begins(names)) {
        return Some((lead + names.len(), today.checked_add_days(Days::new(*days))?));
    }
    let first = low(0)?;
    if let Some(at) = WEEKDAYS
        .iter()
        .find_map(|days| days.iter().position(|day| *day == first))
    {
        let weekday = Weekday::try_from(u8::try_from(at).ok()?).ok()?;
        let mut days = today.iter_days().skip(1);
        return Some((lead + 1, days.find(|day| day.weekday() == weekday)?));
    }
    if let Some(date) = in_figures(first, today) {
        return Some((lead + 1, date));
    }
    let (month, day, mut length) = match (month(first), low(1)) {
        (Some(month), Some(second)) => (month, day_of_month(second)?, 2),
        (None, Some("of")) => (self::month(low(2)?)?, day_of_month(first)?, 3),
        (None, Some(second)) => (self::month(second)?, day_of_month(first)?, 2),
        (_, None) => return None,
    };
    let year = low(length)
        .filter(|year| year.len() == 4)
        .and_then(|year| year.parse().ok());
    length += usize::from(year.is_some());
    let date = match year {
        Some(year) => NaiveDate::from_ymd_opt(year, month, day)?,
        None => coming(today, month, day)?,
    };
    Some((lead + length, date))
}

/// The time of day that `words` begin with, and of how many it is.
pub(super) fn time(words: &[Word<'_>], reader: &Reader) -> Option<(usize, NaiveTime)> {
    let lead = words
        .iter()
        .take_while(|word| BEFORE_A_TIME.contains(&word.low.as_str()))
        .count();
    let words = &words[lead..];
    let low = |at: usize| words.get(at).map(|word| word.low.as_str());
    let first = low(0)?;
    match first {
        "noon" | "mittag" | "mittags" => return Some((lead + 1, NaiveTime::from_hms_opt(12, 0, 0)?)),
        "midnight" | "mitternacht" => return Some((lead + 1, NaiveTime::MIN)),
        _ => {}
    }
    let glued = first.strip_suffix("am").map(|figures| (figures, "am"));
    let glued = glued.or_else(|| first.strip_suffix("pm").map(|figures| (figures, "pm")));
    let (figures, half) = match glued {
        Some((figures, half)) => (figures, Some(half)),
        None => (first, low(1).filter(|word| matches!(*word, "am" | "pm"))),
    };
    let mut length = 1 + usize::from(glued.is_none() && half.is_some());
    let (hour, mut minute) = match figures.split_once(':') {
        Some((hour, minute)) => (hour.parse().ok()?, two_digits(minute)?),
        None => (hour_of(figures, reader)?, 0),
    };
    let is_clock = half.is_none() && low(1) == Some("uhr");
    if is_clock {
        length += 1;
        if let Some(after) = low(2).and_then(two_digits) {
            (minute, length) = (after, length + 1);
        }
    }
    if !(figures.contains(':') || half.is_some() || is_clock || lead > 0 || reader.is_answer) {
        return None;
    }
    let hour = match (half, hour) {
        (Some(_), hour) if !(1..=12).contains(&hour) => return None,
        (Some("am"), 12) => 0,
        (Some("pm"), 1..=11) => hour + 12,
        _ => hour,
    };
    Some((lead + length, NaiveTime::from_hms_opt(hour, minute, 0)?))
}

fn hour_of(figures: &str, reader: &Reader) -> Option<u32> {
    let hour = number(figures, &reader.lang)?;
    ((0.0..24.0).contains(&hour) && hour.fract() == 0.0).then_some(hour as u32)
}

fn two_digits(figures: &str) -> Option<u32> {
    figures.parse().ok().filter(|minute| figures.len() == 2 && *minute < 60)
}

/// `2026-01-09`, `9.1.2026` or `9.1`.
fn in_figures(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    if let Ok(date) = NaiveDate::parse_from_str(word, "%Y-%m-%d") {
        return Some(date);
    }
    let mut parts = word.split('.').map(str::parse::<u32>);
    let (day, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
    match parts.next() {
        Some(year) => NaiveDate::from_ymd_opt(i32::try_from(year.ok()?).ok()?, month, day),
        None => coming(today, month, day),
    }
}

/// The next day of this name.
fn coming(today: NaiveDate, month: u32, day: u32) -> Option<NaiveDate> {
    let years = today.year()..today.year() + 9;
    let mut dates = years.filter_map(|year| NaiveDate::from_ymd_opt(year, month, day));
    dates.find(|date| *date >= today)
}

fn month(word: &str) -> Option<u32> {
    let at = MONTHS
        .iter()
        .find_map(|months| months.iter().position(|month| *month == word))?;
    u32::try_from(at + 1).ok()
}

fn day_of_month(word: &str) -> Option<u32> {
    let digits = word.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}
