//! “I am customer 12345.”
//!
//! What is kept of a PIN is HMAC-SHA256 with the customer's salt, and no slow hash: a PIN has four digits, so whoever
//! holds the table tries all 10,000 in minutes at any cost we could bear per turn. What protects a PIN is that only
//! five tries are let through, which holds however many come at once: a customer number's tries stand in line for its
//! row of `pin_tries`. Numbers that nobody has are treated the same in every step, so that nothing tells them apart.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rejoinder::{Clock, Fail, Kept, Lang, Memory, Params, Reply, Texts, Tx};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use sqlx::PgConnection;
use subtle::ConstantTimeEq as _;

/// Asks for `pin`.
pub(crate) const PIN: Texts = &[("en", "And what is your PIN?"), ("de", "Und wie lautet Ihre PIN?")];

/// After so many wrong PINs no more are tried for a while.
const TRIES: i32 = 5;

/// For how long that is.
fn lock() -> TimeDelta {
    TimeDelta::minutes(15)
}

/// Who the user says to be.
#[derive(Debug, Deserialize)]
pub(crate) struct Claim {
    user_id: String,
    pin: Pin,
}

/// A PIN as it was said; not shown anywhere.
#[derive(Deserialize)]
struct Pin(String);

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The customer who has given the right PIN in this conversation, for the agent: it can make this context one that an
/// intent needs. No handler goes by it, for whoever talks to Dialogflow can write it, too; [`Memory::verified`] tells.
#[derive(Debug, Deserialize, Serialize)]
struct Shadow {
    /// Customer number.
    customer_id: String,
}

impl Kept for Shadow {
    const CONTEXT: &'static str = "verified";
    const LIFESPAN: u32 = 20;
}

/// What a customer's PIN is compared with.
#[derive(Debug)]
struct Customer {
    name: String,
    pin_salt: Vec<u8>,
    pin_hash: Vec<u8>,
}

/// The tries that are behind a customer number.
#[derive(Debug)]
struct Tries {
    misses: i32,
    locked_until: Option<DateTime<Utc>>,
}

pub(crate) async fn handle(
    Params(claim): Params<Claim>,
    lang: Lang,
    clock: Clock,
    memory: Memory,
    mut tx: Tx,
) -> Result<Reply, Fail> {
    let now = clock.now();
    let number: String = claim.user_id.trim().chars().take(64).collect();
    if number.is_empty() {
        return Err(Fail::missing("user_id"));
    }
    let tries = tries(&mut tx, &number, now).await?;
    sweep(&mut tx, now).await?;
    if let Some(until) = tries.locked_until.filter(|until| *until > now) {
        return Ok(reply(locked(until - now, &lang)));
    }
    let customer = customer(&mut tx, &number).await?;
    let (is_known, name, salt, hash) = match customer {
        Some(known) => (1, known.name, known.pin_salt, known.pin_hash),
        None => (0, String::new(), vec![0; 16], vec![0; 32]),
    };
    let is_right = pin_hash(&salt, claim.pin.0.trim())?.ct_eq(&hash) & subtle::Choice::from(is_known);
    if bool::from(is_right) {
        forget(&mut tx, &number).await?;
        memory.identify(&mut tx, &number).await?;
        let text = lang.pick([
            ("en", format!("Thank you, {name}. You are verified.")),
            ("de", format!("Danke, {name}. Ihre Identität ist bestätigt.")),
        ]);
        return Ok(reply(text).keep(Shadow { customer_id: number }));
    }
    let misses = tries.misses + 1;
    if misses < TRIES {
        missed(&mut tx, &number, misses, None).await?;
        return Ok(reply(lang.pick([
            (
                "en",
                "That customer number and PIN do not match. Please check both and try again.".to_owned(),
            ),
            (
                "de",
                "Kundennummer und PIN passen nicht zusammen. Bitte prüfen Sie beides und versuchen Sie es noch einmal."
                    .to_owned(),
            ),
        ])));
    }
    missed(&mut tx, &number, 0, Some(now + lock())).await?;
    Ok(reply(locked(lock(), &lang)))
}

/// A reply that also takes the PIN out of the session's parameters, where CX would keep it.
fn reply(text: String) -> Reply {
    Reply::text(text).set("pin", Value::Null)
}

fn locked(left: TimeDelta, lang: &Lang) -> String {
    let minutes = (left.num_seconds() + 59) / 60;
    let (in_english, in_german) = match minutes {
        ..=1 => ("a minute".to_owned(), "einer Minute".to_owned()),
        minutes => (format!("{minutes} minutes"), format!("{minutes} Minuten")),
    };
    lang.pick([
        (
            "en",
            format!("There were too many wrong tries. For your safety, please try again in {in_english}."),
        ),
        (
            "de",
            format!(
                "Das waren zu viele falsche Versuche. Bitte versuchen Sie es zu Ihrer Sicherheit in {in_german} wieder."
            ),
        ),
    ])
}

/// HMAC-SHA256 of the PIN, keyed with the salt.
fn pin_hash(salt: &[u8], pin: &str) -> Result<[u8; 32], Fail> {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).map_err(Fail::bug)?;
    mac.update(pin.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

async fn customer(connection: &mut PgConnection, number: &str) -> Result<Option<Customer>, Fail> {
    let customer = sqlx::query_as!(
        Customer,
        "select name, pin_salt, pin_hash from customers where id = $1",
        number
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}

/// The tries behind this number; from here to the end of the transaction nobody else tries it.
async fn tries(connection: &mut PgConnection, number: &str, now: DateTime<Utc>) -> Result<Tries, Fail> {
    let tries = sqlx::query_as!(
        Tries,
        "insert into pin_tries (customer_id, misses, last_try_at) values ($1, 0, $2)
         -- an update, although nothing much changes: it locks the row
         on conflict (customer_id) do update set
             misses = case when pin_tries.last_try_at < $3 then 0 else pin_tries.misses end,
             last_try_at = excluded.last_try_at
         returning misses, locked_until",
        number,
        now,
        now - TimeDelta::days(1)
    )
    .fetch_one(connection)
    .await?;
    Ok(tries)
}

/// Deletes a few rows that a day has passed over. Only after [`tries`], so that nobody waits for a row while holding
/// one that another waits for.
async fn sweep(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), Fail> {
    sqlx::query!(
        "delete from pin_tries where customer_id in (
             -- skipping what others hold, for the same reason
             select customer_id from pin_tries where last_try_at < $1 limit 10 for update skip locked
         )",
        now - TimeDelta::days(1)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn missed(
    connection: &mut PgConnection,
    number: &str,
    misses: i32,
    locked_until: Option<DateTime<Utc>>,
) -> Result<(), Fail> {
    sqlx::query!(
        "update pin_tries set misses = $2, locked_until = $3 where customer_id = $1",
        number,
        misses,
        locked_until
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn forget(connection: &mut PgConnection, number: &str) -> Result<(), Fail> {
    sqlx::query!("delete from pin_tries where customer_id = $1", number)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
