//! Preferences: when and how often a user wants to be notified.

use std::collections::HashMap;
use std::num::NonZeroU16;

use chrono::{DateTime, Days, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use sqlx::{PgConnection, PgExecutor};
use tracing::warn;

use super::decision::Delay;
use super::outbox;

/// No clock has ever been put forward by more than this, but for days that a country left out.
const LONGEST_GAP_MINUTES: i64 = 180;

/// When and how often a user wants to be notified; by default as the service's settings say, at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// What the user's clock shows.
    pub time_zone: Tz,
    /// From when until when nothing is sent, by that clock; until a time before the first: the next morning. What comes
    /// in then is sent when they end. Twice the same time is no time.
    pub quiet: Option<(NaiveTime, NaiveTime)>,
    /// At most so many messages in any hour; `None`: as the settings say.
    pub per_hour: Option<NonZeroU16>,
    /// Messages are gathered for so many minutes and sent as one; more than a week is a week. `None`: each at once.
    pub digest_minutes: Option<NonZeroU16>,
}

impl Preferences {
    /// When the quiet hours that `at` lies in are over; `None` where it lies in none.
    pub(super) fn quiet_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (from, until) = self.quiet?;
        let zone = self.time_zone;
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
pub(super) async fn of_users(
    executor: impl PgExecutor<'_>,
    users: &[String],
) -> sqlx::Result<HashMap<String, Preferences>> {
    let rows = sqlx::query_as!(
        Row,
        "select user_id, time_zone, quiet_from, quiet_until, per_hour, digest_minutes
         from rejoinder.preferences where user_id = any($1)",
        users
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

/// What the session's user has said.
pub(crate) async fn of_session(executor: impl PgExecutor<'_>, session: &str) -> sqlx::Result<Preferences> {
    let row = sqlx::query_as!(
        Row,
        "select user_id, time_zone, quiet_from, quiet_until, per_hour, digest_minutes from rejoinder.preferences
         where user_id = coalesce((select user_id from rejoinder.conversations where session = $1), $1)",
        session
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.read().1).unwrap_or_default())
}

/// The session's user wants to be notified so from now on. What is held for quiet hours waits for the end of the new
/// ones; where it lies in none it is due.
pub(crate) async fn set(
    connection: &mut PgConnection,
    session: &str,
    preferences: &Preferences,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let user = sqlx::query_scalar!(
        "insert into rejoinder.preferences (user_id, time_zone, quiet_from, quiet_until, per_hour, digest_minutes)
         values (rejoinder.know_conversation($1, $7), $2, $3, $4, $5, $6)
         on conflict (user_id) do update set time_zone = excluded.time_zone, quiet_from = excluded.quiet_from,
             quiet_until = excluded.quiet_until, per_hour = excluded.per_hour, digest_minutes = excluded.digest_minutes
         returning user_id",
        session,
        preferences.time_zone.name(),
        preferences.quiet.map(|(from, _)| from),
        preferences.quiet.map(|(_, until)| until),
        preferences.per_hour.map(|number| i32::from(number.get())),
        preferences.digest_minutes.map(|minutes| i32::from(minutes.get())),
        now
    )
    .fetch_one(&mut *connection)
    .await?;
    let until = preferences.quiet_until(now).unwrap_or(now);
    outbox::hold_until(connection, &user, Delay::QuietHours, until).await
}

struct Row {
    user_id: String,
    time_zone: String,
    quiet_from: Option<NaiveTime>,
    quiet_until: Option<NaiveTime>,
    per_hour: Option<i32>,
    digest_minutes: Option<i32>,
}

impl Row {
    /// The user, and what they have said.
    fn read(self) -> (String, Preferences) {
        let time_zone = self.time_zone.parse().unwrap_or_else(|_| {
            warn!(
                time_zone = self.time_zone,
                "unknown time zone in preferences; UTC was taken"
            );
            Tz::UTC
        });
        let preferences = Preferences {
            time_zone,
            quiet: self.quiet_from.zip(self.quiet_until),
            per_hour: self.per_hour.and_then(number),
            digest_minutes: self.digest_minutes.and_then(number),
        };
        (self.user_id, preferences)
    }
}

/// As the table has it: above 0. What is greater than our type is its greatest.
fn number(found: i32) -> Option<NonZeroU16> {
    NonZeroU16::new(u16::try_from(found).unwrap_or(u16::MAX))
}

/// What was preferred for the session while it had nobody is the user's, who has none of their own.
pub(super) async fn hand_over(connection: &mut PgConnection, session: &str, user_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "with moved as (delete from rejoinder.preferences where user_id = $1 returning *)
         insert into rejoinder.preferences (user_id, time_zone, quiet_from, quiet_until, per_hour, digest_minutes)
         select $2, time_zone, quiet_from, quiet_until, per_hour, digest_minutes from moved
         on conflict (user_id) do nothing",
        session,
        user_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Erases the user's; returns how many.
pub(crate) async fn forget(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<u64> {
    let erased = sqlx::query!("delete from rejoinder.preferences where user_id = $1", user_id);
    Ok(erased.execute(connection).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn quiet(zone: &str, from: &str, until: &str) -> Preferences {
        let row = Row {
            user_id: String::new(),
            time_zone: zone.to_owned(),
            quiet_from: Some(from.parse().unwrap()),
            quiet_until: Some(until.parse().unwrap()),
            per_hour: None,
            digest_minutes: None,
        };
        row.read().1
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
