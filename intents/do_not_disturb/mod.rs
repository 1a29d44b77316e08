//! “Leave me alone between ten at night and seven”, and “you may write at any time again”.

use chrono::{FixedOffset, NaiveTime};
use chrono_tz::Tz;
use rejoinder::{Fail, Lang, Memory, Params, Preferences, Reply, Texts};
use serde::Deserialize;
use serde_json::Value;

use crate::moment;

/// Asks for `from`.
pub(crate) const FROM: Texts = &[
    ("en", "From what time on shall I keep quiet?"),
    ("de", "Ab wann soll ich mich nicht mehr melden?"),
];

/// Asks for `until`.
pub(crate) const UNTIL: Texts = &[
    ("en", "Until what time shall I keep quiet?"),
    ("de", "Bis wann soll ich mich nicht melden?"),
];

/// Asks for `time_zone` when it is none that we know.
pub(crate) const ZONE: Texts = &[
    (
        "en",
        "I do not know that time zone. Which one is it, such as Europe/Berlin?",
    ),
    (
        "de",
        "Diese Zeitzone kenne ich nicht. Welche ist es, etwa Europe/Berlin?",
    ),
];

/// From when until when, or no longer at all.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    from: Option<Value>,
    until: Option<Value>,
    time_zone: Option<String>,
    cancel: Option<Cancel>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Cancel {
    Off,
}

pub(crate) async fn handle(Params(query): Params<Query>, lang: Lang, memory: Memory) -> Result<Reply, Fail> {
    let said = memory.preferences().await?;
    if let Some(Cancel::Off) = query.cancel {
        memory.prefer(Preferences { quiet: None, ..said }).await?;
        let reply = Reply::text(lang.pick([
            ("en", "All right, I will tell you news at any time again."),
            ("de", "Gut, ich melde mich wieder zu jeder Zeit."),
        ]));
        // Where CX would keep it, for the next time that the user wants quiet hours.
        return Ok(reply.set("cancel", Value::Null));
    }
    let zone: Option<Tz> = match query.time_zone {
        Some(name) => Some(name.parse().map_err(|_| Fail::missing("time_zone"))?),
        None => Some(said.time_zone).filter(|zone| *zone != Tz::UTC),
    };
    let time = |value: Option<Value>, parameter| {
        let read = value.as_ref().and_then(moment::time);
        read.map(|(time, offset)| by_clock_of(zone, time, offset))
            .ok_or_else(|| Fail::missing(parameter))
    };
    let (from, until) = (time(query.from, "from")?, time(query.until, "until")?);
    if from == until {
        return Err(Fail::missing("until"));
    }
    let time_zone = zone.unwrap_or(Tz::UTC);
    memory
        .prefer(Preferences {
            time_zone,
            quiet: Some((from, until)),
            ..said
        })
        .await?;
    let (from, until) = (from.format("%H:%M"), until.format("%H:%M"));
    Ok(Reply::text(lang.pick([
        (
            "en",
            format!("All right, I keep quiet from {from} to {until} ({time_zone}). You hear afterwards what came in."),
        ),
        (
            "de",
            format!("Gut, von {from} bis {until} Uhr ({time_zone}) melde ich mich nicht, sondern erst danach."),
        ),
    ])))
}

/// As the clock of the user's zone shows it: that is what they have said. Where the zone is not known, in UTC.
fn by_clock_of(zone: Option<Tz>, time: NaiveTime, offset: Option<FixedOffset>) -> NaiveTime {
    match (zone, offset) {
        (Some(_), _) | (None, None) => time,
        (None, Some(offset)) => time - offset,
    }
}

#[cfg(test)]
mod tests;
