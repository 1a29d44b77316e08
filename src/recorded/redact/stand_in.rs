//! Stand-ins: values that look like those they replace and belong to nobody.

/// What a personal value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Session,
    User,
    Response,
    Email,
    Phone,
    Card,
    IpV4,
    IpV6,
    Token,
    /// Something else: a name, a street, a PIN.
    Value,
}

impl Kind {
    /// The `n`th stand-in, from 1, in the shape of `value`.
    pub(super) fn stand_in(self, value: &str, n: u64) -> String {
        match self {
            Self::Session => format!("session-{n}"),
            Self::User => format!("user-{n}"),
            Self::Response if uuid::Uuid::try_parse(value).is_ok() => format!("00000000-0000-4000-8000-{n:012}"),
            Self::Response => format!("response-{n}"),
            Self::Email => format!("person{n}@example.com"),
            // RFC 5737 and RFC 3849: addresses for documentation.
            Self::IpV4 => {
                let net = ["192.0.2", "198.51.100", "203.0.113"][(n / 254 % 3) as usize];
                format!("{net}.{}", n % 254 + 1)
            }
            Self::IpV6 => format!("2001:db8::{n:x}"),
            Self::Card => checked(&shaped(value, n, '4')),
            Self::Phone | Self::Token | Self::Value => shaped(value, n, '1'),
        }
    }
}

/// Digits stay digits and letters letters, of the same case, at the same places; `n` tells one from another. The first
/// digit of several is `lead`.
fn shaped(value: &str, mut n: u64, lead: char) -> String {
    let mut chars: Vec<char> = value.chars().collect();
    for c in chars.iter_mut().rev().filter(|c| c.is_alphanumeric()) {
        if c.is_ascii_digit() {
            *c = char::from(b'0' + (n % 10) as u8);
            n /= 10;
        } else {
            let letter = if n == 0 { b'x' } else { b'a' + (n % 26) as u8 };
            n /= 26;
            *c = char::from(if c.is_uppercase() {
                letter.to_ascii_uppercase()
            } else {
                letter
            });
        }
    }
    let digits = chars.iter().filter(|c| c.is_ascii_digit()).count();
    if let (true, Some(first)) = (digits > 1, chars.iter_mut().find(|c| c.is_ascii_digit())) {
        *first = lead;
    }
    chars.into_iter().collect()
}

/// `card` moved by a digit and ended with its check digit.
fn checked(card: &str) -> String {
    let digits: Vec<u32> = card.chars().filter_map(|c| c.to_digit(10)).collect();
    let Some((lead, rest)) = digits.split_first() else {
        return card.to_owned();
    };
    let mut moved: Vec<u32> = [*lead]
        .into_iter()
        .chain(rest.iter().skip(1).copied())
        .chain([0])
        .collect();
    let check = (10 - luhn_sum(&moved) % 10) % 10;
    if let Some(last) = moved.last_mut() {
        *last = check;
    }
    let mut moved = moved.into_iter().filter_map(|digit| char::from_digit(digit, 10));
    let next = |c: char| {
        if c.is_ascii_digit() {
            moved.next().unwrap_or(c)
        } else {
            c
        }
    };
    card.chars().map(next).collect()
}

/// Sum of the digits by Luhn's rule (ISO/IEC 7812-1); of a valid number it is a multiple of ten.
pub(super) fn luhn_sum(digits: &[u32]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let places = digits.iter().rev().enumerate();
    places
        .map(|(place, digit)| if place % 2 == 1 { doubled(*digit) } else { *digit })
        .sum()
}
