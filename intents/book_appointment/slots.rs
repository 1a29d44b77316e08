//! Opening hours: Monday to Friday, 09:00 to 17:00 UTC, in slots of half an hour.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

const SLOT_SECONDS: i64 = 30 * 60;

/// Whether an appointment may start then.
pub(super) fn is_slot(time: DateTime<Utc>) -> bool {
    let is_workday = time.weekday().num_days_from_monday() < 5;
    let is_on_grid = time.timestamp() % SLOT_SECONDS == 0 && time.timestamp_subsec_nanos() == 0;
    is_workday && (9..17).contains(&time.hour()) && is_on_grid
}

/// The slots after `time`, in order.
pub(super) fn after(time: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let last = time.timestamp().div_euclid(SLOT_SECONDS);
    (1..)
        .map_while(move |n| DateTime::from_timestamp((last + n) * SLOT_SECONDS, 0))
        .filter(|slot| is_slot(*slot))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2030-01-07T09:00:00Z", "2030-01-07T09:30:00Z")]
    #[case("2030-01-07T09:10:00Z", "2030-01-07T09:30:00Z")]
    #[case("2030-01-07T03:00:00Z", "2030-01-07T09:00:00Z")]
    #[case("2030-01-04T16:30:00Z", "2030-01-07T09:00:00Z")]
    #[case("2030-01-05T12:00:00Z", "2030-01-07T09:00:00Z")]
    fn next_slot_is_within_opening_hours(#[case] time: DateTime<Utc>, #[case] next: DateTime<Utc>) {
        assert_eq!(after(time).next(), Some(next));
    }

    #[rstest]
    #[case("2030-01-07T09:00:00Z", true)]
    #[case("2030-01-07T16:30:00Z", true)]
    #[case("2030-01-07T17:00:00Z", false)]
    #[case("2030-01-07T08:30:00Z", false)]
    #[case("2030-01-07T09:15:00Z", false)]
    #[case("2030-01-07T09:00:00.5Z", false)]
    #[case("2030-01-06T09:00:00Z", false)]
    fn slot_is_half_an_hour_of_a_workday(#[case] time: DateTime<Utc>, #[case] expected: bool) {
        assert_eq!(is_slot(time), expected);
    }
}
