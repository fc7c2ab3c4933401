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
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate: f64 = number.parse().map_err(|error| format!("{error}; it should look like 5000 or 5000/s"))?;
    match rate {
        0.0 => Ok(rate),
        _ if rate.is_finite() && rate >= RATE_MIN => Ok(rate),
        _ => Err(format!("it should be 0, or a number from {RATE_MIN} upwards")),
    }
}
