//! Amounts and figures as people of each language write them.

use rejoinder::Lang;
use rust_decimal::{Decimal, RoundingStrategy};

/// An amount in a currency (ISO 4217), rounded to its smallest coin: `$3,247.82`, in German `3.247,82 $`.
pub(crate) fn money(amount: Decimal, currency: &str, lang: &Lang) -> String {
    let places = match currency {
        "JPY" | "KRW" | "ISK" => 0,
        _ => 2,
    };
    let amount = amount.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
    let sign = if amount.is_sign_negative() && !amount.is_zero() {
        "-"
    } else {
        ""
    };
    let figure = figure(amount.abs(), places, lang);
    let symbol = match currency {
        "USD" => "$",
        "EUR" => "€",
        "GBP" => "£",
        "JPY" => "¥",
        code => code,
    };
    let gap = if symbol == currency { " " } else { "" };
    lang.pick([
        ("en", format!("{sign}{symbol}{gap}{figure}")),
        ("de", format!("{sign}{figure} {symbol}")),
    ])
}

/// A figure with `places` decimal places and its thousands grouped: `1,234.5`, in German `1.234,5`.
pub(crate) fn figure(figure: Decimal, places: u32, lang: &Lang) -> String {
    let (group, point) = lang.pick([("en", (',', '.')), ("de", ('.', ','))]);
    let plain = format!("{figure:.*}", places as usize);
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut written = String::from(sign);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            written.push(group);
        }
        written.push(digit);
    }
    if !fraction.is_empty() {
        written.push(point);
        written.push_str(fraction);
    }
    written
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("3247.82", "USD", "$3,247.82", "3.247,82 $")]
    #[case("0", "USD", "$0.00", "0,00 $")]
    #[case("-0.001", "USD", "$0.00", "0,00 $")]
    #[case("-12.5", "EUR", "-€12.50", "-12,50 €")]
    #[case("-1234567.005", "USD", "-$1,234,567.01", "-1.234.567,01 $")]
    #[case("999.999", "GBP", "£1,000.00", "1.000,00 £")]
    #[case("1234.5", "JPY", "¥1,235", "1.235 ¥")]
    #[case("100000", "CHF", "CHF 100,000.00", "100.000,00 CHF")]
    fn amount_is_written_as_the_language_does(
        #[case] amount: Decimal,
        #[case] currency: &str,
        #[case] english: &str,
        #[case] german: &str,
    ) {
        assert_eq!(money(amount, currency, &Lang::new("en-US")), english);
        assert_eq!(money(amount, currency, &Lang::new("de")), german);
    }
}
