//! Points in time, as senders write them.

use chrono::{DateTime, Datelike as _, Utc};

/// From here a number is one of milliseconds, not of seconds: the year 5138, or March 1973.
const MILLIS_FROM: i64 = 100_000_000_000;

/// What [`parse`] takes, for error messages.
pub(super) const EXPECTED: &str = "a time of RFC 3339, or seconds or milliseconds since 1970";

/// Reads RFC 3339, or seconds (perhaps with a fraction) or milliseconds since 1970.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => since_1970(text)?,
    };
    (0..=9999).contains(&time.year()).then_some(time)
}

fn since_1970(text: &str) -> Option<DateTime<Utc>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    if whole.abs() >= MILLIS_FROM {
        return DateTime::from_timestamp_millis(whole);
    }
    DateTime::from_timestamp(whole, format!("{fraction:0<9}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn one_moment_is_read_however_it_is_written() {
        let moment = parse("2020-12-01T08:20:19Z").unwrap();
        for written in [
            "1606810819",
            "1606810819.000000",
            "1606810819000",
            "2020-12-01T09:20:19+01:00",
        ] {
            assert_eq!(parse(written), Some(moment), "{written}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for written in [
            "",
            "yesterday",
            "1.x",
            "99999999999999999",
            "+262000-01-01T00:00:00Z",
            "1.1234567890",
        ] {
            assert_eq!(parse(written), None, "{written}");
        }
    }
}
