//! How often something may come, as settings say it.

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// So many in a while, evenly or at once: `20/s`, `600/m`, `5000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: char,
}

impl Rate {
    /// So many in a minute.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self { count, unit: 'm' }
    }

    /// How many.
    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In which time.
    pub fn period(self) -> Duration {
        Duration::from_secs(match self.unit {
            's' => 1,
            'm' => 60,
            _ => 3_600,
        })
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("found {text:?}, expected how many in a second, minute or hour: 20/s, 600/m, 5000/h");
        let (count, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let mut unit = unit.trim().chars();
        match (count.trim().parse(), unit.next(), unit.next()) {
            (Ok(count), Some(unit @ ('s' | 'm' | 'h')), None) => Ok(Self { count, unit }),
            _ => Err(wrong()),
        }
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("20/s", 20, 1)]
    #[case(" 600 / m ", 600, 60)]
    #[case("5000/h", 5_000, 3_600)]
    fn rate_is_a_number_in_a_while(#[case] text: &str, #[case] count: u32, #[case] seconds: u64) {
        let rate: Rate = text.parse().unwrap();
        assert_eq!((rate.count().get(), rate.period().as_secs()), (count, seconds));
        assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[rstest]
    #[case("")]
    #[case("20")]
    #[case("0/s")]
    #[case("-1/s")]
    #[case("20/ms")]
    #[case("20/d")]
    #[case("5000000000/s")]
    fn what_is_no_rate_is_told_with_what_was_expected(#[case] text: &str) {
        let wrong = text.parse::<Rate>().unwrap_err();
        assert!(
            wrong.starts_with(&format!("found {text:?}, expected how many")),
            "{wrong}"
        );
    }
}
