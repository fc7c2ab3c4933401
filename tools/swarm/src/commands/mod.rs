//! The arguments of the large runs, and what each makes of them.

pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod storm;
pub(crate) mod worker;

use std::time::Duration;

/// `10m`, `30s`, `500ms`: as humans write a time.
fn time(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// `5000` or `5000/s`.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate: f64 = number.parse().map_err(|error| format!("{error}; it should look like 5000 or 5000/s"))?;
    if rate.is_finite() && rate >= 0.0 { Ok(rate) } else { Err("it should be a number from 0 upwards".to_owned()) }
}
