//! Dates and times in the shapes that Dialogflow gives them.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use serde_json::{Map, Value};

/// The moment that `@sys.date-time` holds; `None` where it is none.
///
/// ES gives RFC 3339, also as `{"date_time": …}`, or a period, of which the start counts; CX gives
/// `{"year": …, "month": …, "day": …, "hours": …, "minutes": …}`. Where there is no offset, it is UTC.
pub(crate) fn date_time(value: &Value) -> Option<DateTime<Utc>> {
    Some(local(value)?.to_utc())
}

/// The moment of a `@sys.date` and a `@sys.time`.
///
/// ES writes both as a whole moment (`2026-01-05T00:00:00+01:00`): of the first the day and the offset count, of the
/// second only the time.
pub(crate) fn date_and_time(date: &Value, time: &Value) -> Option<DateTime<Utc>> {
    let (day, offset) = match date.as_object() {
        Some(fields) => (day(fields)?, UTC),
        None => local(date).map(|date| (date.date_naive(), *date.offset()))?,
    };
    let clock = match time.as_object() {
        Some(fields) => clock(fields)?,
        None => local(time)?.time(),
    };
    let moment = day.and_time(clock).and_local_timezone(offset).single()?;
    Some(moment.to_utc())
}

/// The hour and minute that `@sys.time` holds, and the offset where there is one; `None` where it is no time.
///
/// ES gives a whole moment (`2026-01-07T22:00:00+01:00`), CX `{"hours": …, "minutes": …}`; `22:00` is a time too.
pub(crate) fn time(value: &Value) -> Option<(NaiveTime, Option<FixedOffset>)> {
    let (time, offset) = match value.as_object().filter(|fields| fields.contains_key("hours")) {
        Some(fields) => (clock(fields)?, None),
        None => match value.as_str().map(|text| NaiveTime::parse_from_str(text, "%H:%M")) {
            Some(Ok(time)) => (time, None),
            Some(Err(_)) | None => local(value).map(|moment| (moment.time(), Some(*moment.offset())))?,
        },
    };
    Some((NaiveTime::from_hms_opt(time.hour(), time.minute(), 0)?, offset))
}

// Checked when it is compiled.
const UTC: FixedOffset = FixedOffset::east_opt(0).unwrap();

fn local(value: &Value) -> Option<DateTime<FixedOffset>> {
    match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok().or_else(|| {
            let moment = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?;
            moment.and_local_timezone(UTC).single()
        }),
        Value::Array(items) => local(items.first()?),
        Value::Object(fields) => {
            let names = ["date_time", "startDateTime", "start_date_time", "startTime"];
            match names.iter().find_map(|name| fields.get(*name)) {
                Some(inner) => local(inner),
                None => day(fields)?.and_time(clock(fields)?).and_local_timezone(UTC).single(),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn day(fields: &Map<String, Value>) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(
        i32::try_from(whole(fields, "year")?).ok()?,
        u32::try_from(whole(fields, "month")?).ok()?,
        u32::try_from(whole(fields, "day")?).ok()?,
    )
}

fn clock(fields: &Map<String, Value>) -> Option<NaiveTime> {
    NaiveTime::from_hms_opt(
        u32::try_from(whole(fields, "hours")?).ok()?,
        u32::try_from(whole(fields, "minutes").unwrap_or(0)).ok()?,
        0,
    )
}

/// A whole number that may be written as `9.0`.
fn whole(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    let number = fields.get(name)?.as_f64()?;
    (number.fract() == 0.0 && number.abs() < 1e9).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!("2030-01-07T10:30:00+01:00"))]
    #[case(json!("2030-01-07T09:30:00Z"))]
    #[case(json!("2030-01-07T09:30:00"))]
    #[case(json!(["2030-01-07T09:30:00Z", "2030-01-08T09:30:00Z"]))]
    #[case(json!({"date_time": "2030-01-07T10:30:00+01:00"}))]
    #[case(json!({"startDateTime": "2030-01-07T10:30:00+01:00", "endDateTime": "2030-01-07T12:00:00+01:00"}))]
    #[case(json!({"year": 2030.0, "month": 1.0, "day": 7.0, "hours": 9.0, "minutes": 30.0, "seconds": 0.0}))]
    fn moment_is_read_in_every_shape(#[case] value: Value) {
        assert_eq!(
            date_time(&value).unwrap(),
            "2030-01-07T09:30:00Z".parse::<DateTime<Utc>>().unwrap()
        );
    }

    #[rstest]
    #[case(json!("2030-01-07T12:00:00+01:00"), json!("2026-11-21T10:30:00+02:00"))]
    #[case(json!({"year": 2030, "month": 1, "day": 7}), json!({"hours": 9, "minutes": 30}))]
    fn day_counts_of_the_date_and_hour_of_the_time(#[case] date: Value, #[case] time: Value) {
        let moment = date_and_time(&date, &time).unwrap();
        assert_eq!(moment, "2030-01-07T09:30:00Z".parse::<DateTime<Utc>>().unwrap());
    }

    #[rstest]
    #[case(json!("22:30"), None)]
    #[case(json!({"hours": 22.0, "minutes": 30.0, "seconds": 0.0, "nanos": 0.0}), None)]
    #[case(json!("2026-01-07T22:30:00+01:00"), Some(3600))]
    #[case(json!({"startTime": "2026-01-07T22:30:59+01:00", "endTime": "2026-01-08T07:00:00+01:00"}), Some(3600))]
    #[case(json!("2026-01-07T22:30:00"), Some(0))]
    fn time_of_day_is_read_in_every_shape(#[case] value: Value, #[case] offset: Option<i32>) {
        let (read, found) = time(&value).unwrap();
        assert_eq!(read.to_string(), "22:30:00");
        assert_eq!(found.map(|found| found.local_minus_utc()), offset);
        assert_eq!(time(&json!("at night")), None);
    }

    #[rstest]
    #[case(json!("tomorrow"))]
    #[case(json!({"year": 1e300, "month": 1, "day": 7, "hours": 9}))]
    #[case(json!({"year": 2030, "month": 2, "day": 30, "hours": 9}))]
    #[case(json!([]))]
    #[case(json!(7))]
    fn other_values_are_none(#[case] value: Value) {
        assert_eq!(date_time(&value), None);
    }
}
