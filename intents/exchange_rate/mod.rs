//! “How much is 100 euros in dollars?”
//!
//! A rate is fresh for ten minutes. The last good one is kept for a day, and told, as old, while the service that
//! rates come from does not answer.

use std::collections::HashMap;
use std::time::Duration;

use chrono::NaiveDate;
use rejoinder::{Cache, Data, Deadline, Fail, Lang, Params, Reply, Texts, Upstream};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::day;
use crate::money::{figure, money};
use crate::settings::Settings;

/// Asks for `from_currency`.
pub(crate) const FROM: Texts = &[
    ("en", "Which currency do you want to convert from?"),
    ("de", "Von welcher Währung möchten Sie umrechnen?"),
];

/// Asks for `to_currency`.
pub(crate) const TO: Texts = &[
    ("en", "Which currency do you want to convert to?"),
    ("de", "In welche Währung möchten Sie umrechnen?"),
];

/// Asks for `amount` when it is no number.
pub(crate) const AMOUNT: Texts = &[
    ("en", "How much would you like to convert?"),
    ("de", "Welchen Betrag möchten Sie umrechnen?"),
];

/// Said while the rates service takes its time.
pub(crate) const SLOW: Texts = &[
    (
        "en",
        "I am still waiting for the exchange rate. Please ask me again in a moment.",
    ),
    (
        "de",
        "Ich warte noch auf den Wechselkurs. Bitte fragen Sie gleich noch einmal.",
    ),
];

const FRESH: Duration = Duration::from_secs(600);
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What the user asks for: currencies by their codes (ISO 4217); without an amount, the rate itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    from_currency: Option<String>,
    to_currency: String,
    amount: Option<Amount>,
}

/// A figure, or a figure with its currency, as `@sys.unit-currency` has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Amount {
    Money { amount: Decimal, currency: String },
    Figure(Decimal),
}

/// What one unit costs, and of which day that is.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Rate {
    rate: Decimal,
    date: NaiveDate,
}

/// The part of the service's answer that we need.
#[derive(Debug, Deserialize)]
struct Latest {
    date: NaiveDate,
    rates: HashMap<String, Decimal>,
}

pub(crate) async fn handle(
    Params(query): Params<Query>,
    settings: Data<Settings>,
    lang: Lang,
    cache: Cache,
    upstream: Upstream,
    deadline: Deadline,
) -> Result<Reply, Fail> {
    let (amount, currency) = match query.amount {
        Some(Amount::Money { amount, currency }) => (Some(amount), Some(currency)),
        Some(Amount::Figure(amount)) => (Some(amount), None),
        None => (None, None),
    };
    let from = query.from_currency.or(currency);
    let from = code(&from.ok_or_else(|| Fail::missing("from_currency"))?, &lang)?;
    let to = code(&query.to_currency, &lang)?;
    if from == to {
        return Ok(Reply::text(lang.pick([
            ("en", format!("That is the same currency: 1 {from} is 1 {to}.")),
            ("de", format!("Das ist dieselbe Währung: 1 {from} ist 1 {to}.")),
        ])));
    }
    let (pair, last) = (format!("{from}/{to}"), format!("last/{from}/{to}"));
    let fetched = cache.get_or_fetch(&pair, FRESH, async {
        let rate = fetch(&upstream, &settings, &from, &to).await?;
        if let Some(rate) = &rate {
            cache.put(&last, KEPT, rate).await?;
        }
        Ok(rate)
    });
    let (rate, is_old) = match cache.get::<Rate>(&last).await {
        None => (fetched.await?, false),
        // There is something to say: say it in time.
        Some(last) => match tokio::time::timeout(deadline.left().mul_f32(0.8), fetched).await {
            Ok(Ok(rate)) => (rate, false),
            Ok(Err(fail)) => {
                tracing::warn!(?fail, "old exchange rate served");
                (Some(last), true)
            }
            Err(_) => {
                tracing::warn!("old exchange rate served: no answer in time");
                (Some(last), true)
            }
        },
    };
    let text = match rate {
        Some(rate) => told(&rate, is_old, amount, [&from, &to], &lang)?,
        None => lang.pick([
            ("en", format!("I have no exchange rate from {from} to {to}.")),
            ("de", format!("Ich habe keinen Wechselkurs von {from} zu {to}.")),
        ]),
    };
    Ok(Reply::text(text))
}

/// A currency's code, in capital letters.
fn code(said: &str, lang: &Lang) -> Result<String, Fail> {
    let code = said.trim().to_ascii_uppercase();
    if code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Ok(code);
    }
    let said = said.trim();
    Err(Fail::say(lang.pick([
        (
            "en",
            format!("I do not know the currency “{said}”. Please use a code of three letters, such as USD or EUR."),
        ),
        (
            "de",
            format!(
                "Ich kenne die Währung „{said}“ nicht. Bitte nennen Sie ein Kürzel aus drei Buchstaben, etwa USD \
                 oder EUR."
            ),
        ),
    ])))
}

fn told(
    Rate { rate, date }: &Rate,
    is_old: bool,
    amount: Option<Decimal>,
    [from, to]: [&str; 2],
    lang: &Lang,
) -> Result<String, Fail> {
    let day = day::short(*date, lang);
    let is = lang.pick([("en", "is"), ("de", "sind")]);
    let worth = match amount {
        None => {
            let rate = rate.round_sf(6).unwrap_or(*rate).normalize();
            let is = lang.pick([("en", "is"), ("de", "ist")]);
            format!("1 {from} {is} {} {to}", figure(rate, rate.scale(), lang))
        }
        Some(amount) => {
            let Some(worth) = amount.checked_mul(*rate) else {
                return Err(Fail::say(lang.pick([
                    ("en", "That is more money than I can convert."),
                    ("de", "So viel Geld kann ich nicht umrechnen."),
                ])));
            };
            format!("{} {is} {}", money(amount, from, lang), money(worth, to, lang))
        }
    };
    Ok(match is_old {
        false => lang.pick([
            ("en", format!("{worth}, as of {day}.")),
            ("de", format!("{worth}, Stand {day}.")),
        ]),
        true => lang.pick([
            (
                "en",
                format!("{worth}. That is an older rate, from {day}. I cannot get the current one right now."),
            ),
            (
                "de",
                format!("{worth}. Das ist ein älterer Kurs vom {day}. Den aktuellen bekomme ich gerade nicht."),
            ),
        ]),
    })
}

/// Today's rate; `None` when the service has no such currency.
async fn fetch(upstream: &Upstream, settings: &Settings, from: &str, to: &str) -> Result<Option<Rate>, Fail> {
    let url = format!("{}/latest", settings.rates_api_url.as_str().trim_end_matches('/'));
    let request = upstream.get(url).query(&[("base", from), ("symbols", to)]);
    let Some(latest) = upstream.find::<Latest>(request).await? else {
        return Ok(None);
    };
    Ok(latest.rates.get(to).map(|rate| Rate {
        rate: *rate,
        date: latest.date,
    }))
}

#[cfg(test)]
mod tests;
