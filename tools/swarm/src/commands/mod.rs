//! The arguments of the large runs, and what each makes of them.

pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod storm;
pub(crate) mod worker;

use std::time::Duration;

/// Things a second: less often than every quarter of an hour is no load.
const RATE_MIN: f64 = 0.001;

/// `10m`, `30s`, `500ms`: as humans write a time.
fn time(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// `5000` or `5000/s`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = per_second(text)?;
    if rate.is_finite() && rate >= RATE_MIN { Ok(rate) } else { Err(format!("it should be {RATE_MIN} at least")) }
}

/// The same, or 0 for none.
fn rate_or_none(text: &str) -> Result<f64, String> {
    if per_second(text)? == 0.0 { Ok(0.0) } else { rate(text).map_err(|why| why + ", or 0 for none") }
}

fn per_second(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|error| format!("{error}; it should look like 5000 or 5000/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_rate_when_parsed_then_none_at_all_is_refused_where_it_means_nothing() {
        assert_eq!((rate("5000"), rate("0.5/s")), (Ok(5_000.0), Ok(0.5)));
        for nonsense in ["0", "-1", "NaN", "inf", "0.0001", "x"] {
            assert!(rate(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!((rate_or_none("0"), rate_or_none("2000/s")), (Ok(0.0), Ok(2_000.0)));
        assert!(rate_or_none("-1").is_err());
    }
}
