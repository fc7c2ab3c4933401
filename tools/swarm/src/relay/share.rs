//! Parts of a whole, as people write them: `1%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The whole.
const MILLION: u32 = 1_000_000;

/// So many of a million.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Share(u32);

impl Share {
    /// So many of a hundred; all of them when it is more.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        if percent >= 100 { Self(MILLION) } else { Self(percent * (MILLION / 100)) }
    }

    /// Whether it takes the one that chance has drawn, out of as many as there are ([`Share::DRAW_MAX`]).
    pub(super) fn takes(self, drawn: u64) -> bool {
        drawn < u64::from(self.0)
    }

    /// The largest number that is drawn; the smallest is 0.
    pub(super) const DRAW_MAX: u64 = MILLION as u64 - 1;
}

impl FromStr for Share {
    type Err = String;

    /// `1%`, or `0.01`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
        let number: f64 = number.trim().parse().map_err(|error| format!("{error}; it should look like 1% or 0.01"))?;
        if !(0.0..=whole).contains(&number) {
            return Err("it should be from 0% to 100%".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to a million")]
        let millionths = (number / whole * f64::from(MILLION)).round() as u32;
        Ok(Self(millionths))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / f64::from(MILLION / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_share_when_parsed_then_percent_and_fractions_are_the_same_and_nonsense_is_refused() {
        for (text, expect) in [("1%", 10_000), ("0.01", 10_000), ("0.5 %", 5_000), ("0", 0), ("100%", MILLION)] {
            assert_eq!(text.parse(), Ok(Share(expect)), "{text}");
        }
        for nonsense in ["", "%", "-1%", "101%", "2", "NaN", "one"] {
            assert!(nonsense.parse::<Share>().is_err(), "{nonsense}");
        }
        assert_eq!((Share::percent(1).to_string(), Share::percent(200)), ("1%".to_owned(), Share(MILLION)));
    }
}
