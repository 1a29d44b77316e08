//! “I would like an appointment on Monday at ten.”
//!
//! The opening hours are those of [`slots`]. A slot is taken by the row that has it as its key, so none is booked
//! twice, whoever asks at once.

mod slots;

use chrono::{DateTime, Utc};
use rejoinder::reply::message::QuickReplies;
use rejoinder::{Clock, Context, Fail, Kept, Lang, Message, Params, Reply, Session, Texts, Tx, Verified};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{day, moment};

/// Asks for `date_time`.
pub(crate) const WHEN: Texts = &[
    (
        "en",
        "For which day and time? We are open Monday to Friday, 09:00 to 17:00 UTC.",
    ),
    (
        "de",
        "Für welchen Tag und welche Uhrzeit? Wir sind Montag bis Freitag von 9:00 bis 17:00 Uhr UTC da.",
    ),
];

/// Asks for `time` when there is only a day.
pub(crate) const TIME: Texts = &[
    ("en", "At what time would you like to come?"),
    ("de", "Um wie viel Uhr möchten Sie kommen?"),
];

/// Asks for `date` when there is only a time.
pub(crate) const DATE: Texts = &[
    ("en", "On which day would you like to come?"),
    ("de", "An welchem Tag möchten Sie kommen?"),
];

/// Asks for `customer`.
pub(crate) const WHO: Texts = &[
    ("en", "In whose name shall I book the appointment?"),
    ("de", "Auf welchen Namen darf ich den Termin buchen?"),
];

/// How many alternatives are offered.
const OFFERED: usize = 3;

/// How many slots ahead alternatives are looked for: three weeks.
const AHEAD: usize = 15 * 16;

/// What the user asks for: a moment, or a day and a time, or the first, second or third of those just offered.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    date_time: Option<Value>,
    date: Option<Value>,
    time: Option<Value>,
    choice: Option<usize>,
    customer: Option<Name>,
    user_id: Option<String>,
}

/// A name, as text or as `@sys.person` has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Person { name: String },
}

/// What has just been offered, and to whom.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Offer {
    slots: Vec<DateTime<Utc>>,
    customer: String,
}

impl Kept for Offer {
    const CONTEXT: &'static str = "appointment-offer";
}

pub(crate) async fn handle(
    Params(query): Params<Query>,
    offer: Option<Context<Offer>>,
    verified: Option<Verified>,
    session: Session,
    lang: Lang,
    clock: Clock,
    mut tx: Tx,
) -> Result<Reply, Fail> {
    let offer = offer.map(|Context(offer)| offer);
    let wanted = wanted(&query, offer.as_ref())?;
    let customer = match query.customer {
        Some(Name::Text(name) | Name::Person { name }) => Some(name),
        None => query.user_id,
    };
    let customer = customer
        .or(offer.map(|offer| offer.customer))
        .or(verified.map(|Verified(customer)| customer))
        .ok_or_else(|| Fail::missing("customer"))?;
    let now = clock.now();
    let refused = if wanted <= now {
        lang.pick([
            ("en", "That time has already passed."),
            ("de", "Dieser Zeitpunkt liegt schon in der Vergangenheit."),
        ])
    } else if !slots::is_slot(wanted) {
        lang.pick([
            (
                "en",
                "Appointments start every half hour, Monday to Friday from 09:00 to 17:00 UTC.",
            ),
            (
                "de",
                "Termine beginnen jede halbe Stunde, Montag bis Freitag von 9:00 bis 17:00 Uhr UTC.",
            ),
        ])
    } else if book(&mut tx, wanted, &customer, session.as_str(), now).await? {
        let when = day::at(wanted, &lang);
        let text = lang.pick([
            ("en", format!("Your appointment is booked for {when}.")),
            ("de", format!("Ihr Termin ist gebucht: {when}.")),
        ]);
        return Ok(booked(text));
    } else {
        lang.pick([
            ("en", "That time is already taken."),
            ("de", "Dieser Termin ist leider schon vergeben."),
        ])
    };
    let slots = free(&mut tx, wanted.max(now)).await?;
    Ok(offered(refused, Offer { slots, customer }, &lang))
}

/// A reply that also takes what was asked for out of the session's parameters, where CX would keep it for the next one.
fn booked(text: String) -> Reply {
    let reply = Reply::text(text).forget::<Offer>();
    ["date_time", "date", "time", "choice"]
        .into_iter()
        .fold(reply, |reply, parameter| reply.set(parameter, Value::Null))
}

/// The moment that is asked for, or the question for it.
fn wanted(query: &Query, offer: Option<&Offer>) -> Result<DateTime<Utc>, Fail> {
    let (moment, asked) = match (&query.choice, &query.date_time, &query.date, &query.time) {
        (Some(choice), _, _, _) => {
            let slots = offer.map_or(&[][..], |offer| &offer.slots);
            (choice.checked_sub(1).and_then(|at| slots.get(at).copied()), "date_time")
        }
        (None, Some(date_time), _, _) => (moment::date_time(date_time), "date_time"),
        (None, None, Some(date), Some(time)) => (moment::date_and_time(date, time), "date_time"),
        (None, None, Some(_), None) => (None, "time"),
        (None, None, None, Some(_)) => (None, "date"),
        (None, None, None, None) => (None, "date_time"),
    };
    moment.ok_or_else(|| Fail::missing(asked))
}

/// Says why not, and what is free instead.
fn offered(refused: &str, offer: Offer, lang: &Lang) -> Reply {
    let times: Vec<String> = offer.slots.iter().map(|slot| day::at(*slot, lang)).collect();
    if times.is_empty() {
        let text = lang.pick([
            (
                "en",
                format!("{refused} I find no free time in the three weeks after that."),
            ),
            (
                "de",
                format!("{refused} In den drei Wochen danach ist nichts mehr frei."),
            ),
        ]);
        return Reply::text(text).forget::<Offer>();
    }
    let text = lang.pick([
        (
            "en",
            format!("{refused} The next free times are:\n{}", times.join("\n")),
        ),
        (
            "de",
            format!("{refused} Die nächsten freien Termine:\n{}", times.join("\n")),
        ),
    ]);
    let title = lang.pick([("en", "Which one would you like?"), ("de", "Welchen möchten Sie?")]);
    let buttons = offer.slots.iter().map(|slot| day::button(*slot, lang)).collect();
    Reply::text(text)
        .and(Message::QuickReplies(QuickReplies {
            title: title.to_owned(),
            quick_replies: buttons,
        }))
        .keep(offer)
        .set("choice", Value::Null)
}

/// Books the slot; false when another has it. It is no second booking when this conversation has it already.
async fn book(
    connection: &mut PgConnection,
    slot: DateTime<Utc>,
    customer: &str,
    session: &str,
    now: DateTime<Utc>,
) -> Result<bool, Fail> {
    let booked = sqlx::query!(
        "insert into appointments (starts_at, customer, session, booked_at) values ($1, $2, $3, $4)
         -- waits for another's insert that has not committed yet
         on conflict (starts_at) do nothing",
        slot,
        customer,
        session,
        now
    )
    .execute(&mut *connection)
    .await?;
    if booked.rows_affected() == 1 {
        return Ok(true);
    }
    let is_ours = sqlx::query_scalar!(
        r#"select customer = $2 and session = $3 as "is_ours!" from appointments where starts_at = $1"#,
        slot,
        customer,
        session
    )
    .fetch_optional(connection)
    .await?;
    Ok(is_ours.unwrap_or(false))
}

/// The next free slots after `time`.
async fn free(connection: &mut PgConnection, time: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>, Fail> {
    let slots: Vec<DateTime<Utc>> = slots::after(time).take(AHEAD).collect();
    let taken = sqlx::query_scalar!("select starts_at from appointments where starts_at = any($1)", &slots)
        .fetch_all(connection)
        .await?;
    let free = slots.into_iter().filter(|slot| !taken.contains(slot));
    Ok(free.take(OFFERED).collect())
}

#[cfg(test)]
mod tests;
