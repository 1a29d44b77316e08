//! Preferences: when and how often a user wants to be notified.

use chrono::{DateTime, Days, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use sqlx::PgExecutor;
use tracing::warn;

/// No clock has ever been put forward by more than this, but for days that a country left out.
const LONGEST_GAP_MINUTES: i64 = 180;

/// When and how often a user wants to be notified.
#[derive(Clone, Debug)]
pub(super) struct Preferences {
    pub(super) user_id: String,
    pub(super) time_zone: String,
    pub(super) quiet_from: Option<NaiveTime>,
    pub(super) quiet_until: Option<NaiveTime>,
    pub(super) per_hour: Option<i32>,
    pub(super) digest_minutes: Option<i32>,
}

impl Preferences {
    /// When the quiet hours that `at` lies in are over; `None` where it lies in none.
    pub(super) fn quiet_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (from, until) = self.quiet_from.zip(self.quiet_until)?;
        let zone: Tz = self.time_zone.parse().unwrap_or_else(|_| {
            warn!(
                time_zone = self.time_zone,
                "unknown time zone in preferences; UTC was taken"
            );
            Tz::UTC
        });
        let local = at.with_timezone(&zone).naive_local();
        let (today, time) = (local.date(), local.time());
        let ends_on = if from < until {
            (from <= time && time < until).then_some(today)
        } else if from == until {
            None
        } else if time >= from {
            today.checked_add_days(Days::new(1))
        } else {
            (time < until).then_some(today)
        }?;
        let end = instant(zone, ends_on.and_time(until));
        // In the hour that comes twice, the end may have passed already.
        (end > at).then_some(end)
    }
}

/// When it is `local` in the zone: the second time where a clock that is put back shows it twice, the end of the gap
/// where a clock that is put forward leaves it out.
fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    (0..=LONGEST_GAP_MINUTES)
        .find_map(|minutes| {
            zone.from_local_datetime(&(local + TimeDelta::minutes(minutes)))
                .latest()
        })
        .map_or_else(|| local.and_utc(), |found| found.to_utc())
}

/// What these users have said; nothing for those who have not.
pub(super) async fn of_users(executor: impl PgExecutor<'_>, users: &[String]) -> sqlx::Result<Vec<Preferences>> {
    sqlx::query_as!(
        Preferences,
        "select user_id, time_zone, quiet_from, quiet_until, per_hour, digest_minutes
         from preferences where user_id = any($1)",
        users
    )
    .fetch_all(executor)
    .await
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn quiet(zone: &str, from: &str, until: &str) -> Preferences {
        Preferences {
            user_id: String::new(),
            time_zone: zone.to_owned(),
            quiet_from: Some(from.parse().unwrap()),
            quiet_until: Some(until.parse().unwrap()),
            per_hour: None,
            digest_minutes: None,
        }
    }

    #[rstest]
    // Within a day, at both edges.
    #[case("UTC", "12:00:00", "14:00:00", "2026-09-21T11:59:59Z", None)]
    #[case("UTC", "12:00:00", "14:00:00", "2026-09-21T12:00:00Z", Some("2026-09-21T14:00:00Z"))]
    #[case("UTC", "12:00:00", "14:00:00", "2026-09-21T14:00:00Z", None)]
    // Over midnight, in the user's zone.
    #[case("Europe/Berlin", "22:00:00", "07:00:00", "2026-09-21T19:59:00Z", None)]
    #[case(
        "Europe/Berlin",
        "22:00:00",
        "07:00:00",
        "2026-09-21T20:00:00Z",
        Some("2026-09-22T05:00:00Z")
    )]
    #[case(
        "Europe/Berlin",
        "22:00:00",
        "07:00:00",
        "2026-09-22T03:00:00Z",
        Some("2026-09-22T05:00:00Z")
    )]
    #[case(
        "America/New_York",
        "22:00:00",
        "07:00:00",
        "2026-09-22T03:00:00Z",
        Some("2026-09-22T11:00:00Z")
    )]
    // The night in which the clock is put forward from 2:00 to 3:00: 2:30 is not there, 7:00 comes an hour earlier.
    #[case(
        "Europe/Berlin",
        "22:00:00",
        "02:30:00",
        "2026-03-29T00:00:00Z",
        Some("2026-03-29T01:00:00Z")
    )]
    #[case(
        "Europe/Berlin",
        "22:00:00",
        "07:00:00",
        "2026-03-28T23:00:00Z",
        Some("2026-03-29T05:00:00Z")
    )]
    // The night in which it is put back from 3:00 to 2:00: 2:30 comes twice, the second counts.
    #[case(
        "Europe/Berlin",
        "22:00:00",
        "02:30:00",
        "2026-10-25T00:10:00Z",
        Some("2026-10-25T01:30:00Z")
    )]
    #[case(
        "Nowhere/Land",
        "12:00:00",
        "14:00:00",
        "2026-09-21T13:00:00Z",
        Some("2026-09-21T14:00:00Z")
    )]
    #[case("UTC", "12:00:00", "12:00:00", "2026-09-21T12:00:00Z", None)]
    fn quiet_hours_end_as_the_users_clock_shows(
        #[case] zone: &str,
        #[case] from: &str,
        #[case] until: &str,
        #[case] at: &str,
        #[case] end: Option<&str>,
    ) {
        let end = end.map(|end| end.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(quiet(zone, from, until).quiet_until(at.parse().unwrap()), end);
    }
}
