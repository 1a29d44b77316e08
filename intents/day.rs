//! Days and times as people of each language write them.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use rejoinder::Lang;

const WEEKDAYS: [&str; 7] = [
    "Montag",
    "Dienstag",
    "Mittwoch",
    "Donnerstag",
    "Freitag",
    "Samstag",
    "Sonntag",
];

const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// `Monday, January 7, 2030`, in German `Montag, 7. Januar 2030`.
pub(crate) fn long(day: NaiveDate, lang: &Lang) -> String {
    let weekday = WEEKDAYS[day.weekday().num_days_from_monday() as usize];
    let month = MONTHS[day.month0() as usize];
    lang.pick([
        ("en", day.format("%A, %B %-d, %Y").to_string()),
        ("de", format!("{weekday}, {}. {month} {}", day.day(), day.year())),
    ])
}

/// `Jan 7, 2030`, in German `07.01.2030`.
pub(crate) fn short(day: NaiveDate, lang: &Lang) -> String {
    lang.pick([
        ("en", day.format("%b %-d, %Y").to_string()),
        ("de", day.format("%d.%m.%Y").to_string()),
    ])
}

/// `Monday, January 7, 2030 at 10:00 UTC`, in German `Montag, 7. Januar 2030 um 10:00 Uhr UTC`.
pub(crate) fn at(time: DateTime<Utc>, lang: &Lang) -> String {
    let (day, clock) = (long(time.date_naive(), lang), time.format("%H:%M"));
    lang.pick([
        ("en", format!("{day} at {clock} UTC")),
        ("de", format!("{day} um {clock} Uhr UTC")),
    ])
}

/// Short enough for a button: `Mon, Jan 7, 10:00`, in German `Mo, 07.01., 10:00`.
pub(crate) fn button(time: DateTime<Utc>, lang: &Lang) -> String {
    let weekday = WEEKDAYS[time.weekday().num_days_from_monday() as usize];
    lang.pick([
        ("en", time.format("%a, %b %-d, %H:%M").to_string()),
        ("de", format!("{}, {}", &weekday[..2], time.format("%d.%m., %H:%M"))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_is_written_as_the_language_does() {
        let time: DateTime<Utc> = "2030-03-05T09:30:00Z".parse().unwrap();
        let (en, de) = (Lang::new("en"), Lang::new("de-DE"));
        assert_eq!(at(time, &en), "Tuesday, March 5, 2030 at 09:30 UTC");
        assert_eq!(at(time, &de), "Dienstag, 5. März 2030 um 09:30 Uhr UTC");
        assert_eq!(short(time.date_naive(), &en), "Mar 5, 2030");
        assert_eq!(short(time.date_naive(), &de), "05.03.2030");
        assert_eq!(button(time, &en), "Tue, Mar 5, 09:30");
        assert_eq!(button(time, &de), "Di, 05.03., 09:30");
    }
}
